"""The plan of a mix: which rows of which dataset, and why each other row stays out. Nothing is written."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from honed import segments
from honed.data.mix import lots
from honed.data.mix.lots import Lot, Numbers
from honed.data.mix.recipe import DATASET, NONE, Level, MixConfig
from honed.data.mix.tree import Tree
from honed.errors import ConfigError, DataError
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace

_MIX = np.uint64(0x9E3779B97F4A7C15)


class Line(NamedTuple):
    """One group of the plan: its values by level, rows that there are and that are usable, asked for, and taken.

    ``asked`` is the share that the weights give it, in rows, before it is known whether it has as many.
    """

    path: tuple[str, ...]
    rows: int
    usable: int
    asked: float
    taken: int


@dataclass
class Plan:
    """What a mix will hold. ``chosen`` has a flag for each row of each lot, ``reasons`` why each other one is out."""

    settings: MixConfig
    lots: list[Lot]
    anchor: Lot | None
    lines: list[Line] = field(default_factory=list)
    replayed: Line | None = None
    chosen: list[Numbers] = field(default_factory=list)
    reasons: list[dict[int, tuple[str, str]]] = field(default_factory=list)
    repeated: Counter[tuple[str, str]] = field(default_factory=Counter)
    same_prompt: int = 0
    segments: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def every(self) -> list[Lot]:
        """The lots, that of the anchor last."""
        return [*self.lots, *([self.anchor] if self.anchor else [])]

    @property
    def total(self) -> int:
        """Training rows of the mix."""
        return sum(line.taken for line in self.lines) + (self.replayed.taken if self.replayed else 0)


def plan(workspace: Workspace, settings: MixConfig, tick: Callable[[str], None] = lambda _label: None) -> Plan:
    """Return the plan.

    Raises ``StoreError`` for an unknown dataset, ``ConfigError`` if a level asks for what isn't there, ``DataError`` if
    no row is left.
    """
    found = resolved(workspace, settings)
    replay = artifacts.resolve(workspace, "datasets", settings.anchor.dataset) if settings.anchor else None
    if replay and replay.ref in {one.ref for one in found.values()}:
        raise ConfigError(
            f"anchor: {replay.ref} is one of the datasets that are mixed", "Take it out of one of both places."
        )
    held = lots.heldout({**found, **({"": replay} if replay else {})})
    read = []
    for label, dataset in found.items():
        tick(label)
        read.append(lots.lot(label, dataset, held))
    return planned(Plan(settings, read, lots.lot(_label(replay, found), replay, held) if replay else None))


def planned(made: Plan) -> Plan:
    """Fill a plan that has its lots: the choice depends on nothing but these and the settings."""
    _Planning(made).run()
    return made


def resolved(workspace: Workspace, settings: MixConfig) -> dict[str, Artifact]:
    """Return the datasets by the name that the plan calls them: their own, or ``name@vN`` if two have the same."""
    found = [artifacts.resolve(workspace, "datasets", name) for name in settings.datasets]
    names = Counter(one.manifest.name for one in found)
    refs = Counter(one.ref for one in found)
    if twice := next((ref for ref in refs if refs[ref] > 1), None):
        raise ConfigError(f"datasets: {twice} is named twice", "Name each version once.")
    return {one.manifest.name if names[one.manifest.name] == 1 else one.ref: one for one in found}


def _label(dataset: Artifact, found: Mapping[str, Artifact]) -> str:
    return dataset.ref if dataset.manifest.name in found else dataset.manifest.name


class _Planning:
    """A plan that is being made, step by step: what may not be used, the caps, the shares, the choice."""

    def __init__(self, made: Plan) -> None:
        self._plan, self._settings = made, made.settings
        self._levels = [_named(level, made) for level in made.settings.levels]
        made.chosen = [np.zeros(len(lot), bool) for lot in made.every]
        made.reasons = [{} for _ in made.every]
        self._order = [_order(lot.ids, made.settings.seed) for lot in made.every]
        self._paths = [[self._path(lot, tags) for tags in lot.tags] for lot in made.lots]
        self._usable: dict[tuple[str, ...], list[tuple[int, int]]] = {}

    def run(self) -> None:
        self._weightless()
        self._refuse()
        self._cap()
        sizes = self._gather()
        settings, made = self._settings, self._plan
        replayable = self._free(len(made.lots)) if made.anchor else []
        share = settings.anchor.share if settings.anchor else 0.0
        replay = round(settings.rows * share) if settings.rows else 0
        tree = Tree(self._levels, {path: len(rows) for path, rows in self._usable.items()}, strict=not settings.rows)
        most = tree.room()
        total = min(settings.rows - replay, most) if settings.rows else most
        if settings.rows and settings.rows - replay > most:
            made.notes.append(f"{settings.rows - replay:,} rows are asked for, and {most:,} can be used: all are taken")
        tree.deal(total)
        if not settings.rows:
            replay = round(total * share / (1 - share))
        for path in sorted(sizes):
            rows = self._usable.get(path, [])
            made.lines.append(Line(path, sizes[path], len(rows), tree.asked.get(path, 0.0), tree.taken.get(path, 0)))
        self._choose(tree.taken)
        if made.anchor:
            self._replay(replayable, replay)
        if not made.total:
            raise DataError("no row is left for the mix", "See why in the plan: honed data mix ... --dry-run --json")
        self._count()

    def _path(self, lot: Lot, tags: Mapping[str, str]) -> tuple[str, ...]:
        shown = segments.shown(self._settings.rules, tags)
        return tuple(lot.label if level.by == DATASET else shown.get(level.by, NONE) for level in self._levels)

    def _refuse(self) -> None:
        """Leave out what would leak, and rows that an earlier dataset has already."""
        made = self._plan
        first: dict[int, int] = {}
        prompts: set[int] = set()
        for at, lot in enumerate(made.every):
            out = made.reasons[at]
            for row, (id_, prompt) in enumerate(zip(lot.ids.tolist(), lot.prompts.tolist(), strict=True)):
                if row in lot.leaks:
                    out[row] = ("leak", f"{lot.leaks[row]} holds this prompt out: to train on it would be a leak")
                elif row in out:
                    continue
                elif id_ in first:
                    other = made.every[first[id_]]
                    made.repeated[other.label, lot.label] += 1
                    out[row] = ("duplicate", f"the same row stands in {other.dataset.ref}")
                else:
                    first[id_] = at
                    made.same_prompt += prompt in prompts
                    prompts.add(prompt)

    def _weightless(self) -> None:
        for at, lot in enumerate(self._plan.lots):
            why: dict[int, str] = {}
            for code, path in enumerate(self._paths[at]):
                for level, value in zip(self._levels, path, strict=True):
                    if level.weights.get(value) == 0 or level.rows.get(value) == 0:
                        why[code] = f"{level.by} {value} has the weight 0"
            for row in np.flatnonzero(np.isin(lot.codes, list(why))).tolist() if why else []:
                self._plan.reasons[at].setdefault(row, ("weight 0", why[int(lot.codes[row])]))

    def _cap(self) -> None:
        """Keep of each value of a capped tag as many rows as allowed, over all datasets, in the order of the choice."""
        most, every = self._settings.most, self._plan.every
        if not most:
            return
        held: Counter[tuple[str, str]] = Counter()
        rows = [
            (int(self._order[at][row]), at, row)
            for at, lot in enumerate(every)
            for row in self._free(at)
            if most.keys() & lot.tags[int(lot.codes[row])].keys()
        ]
        for _, at, row in sorted(rows):
            tags = every[at].tags[int(every[at].codes[row])]
            keys = [(tag, tags[tag]) for tag in most if tag in tags]
            full = next((key for key in keys if held[key] >= most[key[0]]), None)
            if full:
                what = f"{most[full[0]]:,} other rows have the {full[0]} {full[1]}, and more are not wanted"
                self._plan.reasons[at][row] = (f"most per {full[0]}", what)
            else:
                held.update(keys)

    def _free(self, at: int) -> list[int]:
        out = self._plan.reasons[at]
        return [row for row in range(len(self._plan.every[at])) if row not in out]

    def _gather(self) -> Counter[tuple[str, ...]]:
        """Put usable rows into their groups; return the size of each group, unusable rows included."""
        sizes: Counter[tuple[str, ...]] = Counter()
        for at, lot in enumerate(self._plan.lots):
            for code, count in enumerate(np.bincount(lot.codes, minlength=len(lot.tags)).tolist()):
                sizes[self._paths[at][code]] += count
            for row in self._free(at):
                self._usable.setdefault(self._paths[at][int(lot.codes[row])], []).append((at, row))
        return sizes

    def _choose(self, taken: Mapping[tuple[str, ...], int]) -> None:
        for path, rows in self._usable.items():
            count = taken.get(path, 0)
            rows.sort(key=lambda place: (int(self._order[place[0]][place[1]]), place))
            what = f"{count:,} of {len(rows):,} usable rows of {' / '.join(path)} are wanted"
            for number, (at, row) in enumerate(rows):
                if number < count:
                    self._plan.chosen[at][row] = True
                else:
                    self._plan.reasons[at][row] = ("not chosen", what)

    def _replay(self, rows: list[int], count: int) -> None:
        made, at = self._plan, len(self._plan.lots)
        lot = made.every[at]
        if count > len(rows):
            made.notes.append(f"anchor: {count:,} rows of {lot.dataset.ref} are wanted, and {len(rows):,} can be used")
        ordered = sorted(rows, key=lambda row: (int(self._order[at][row]), row))
        made.chosen[at][ordered[:count]] = True
        for row in ordered[count:]:
            made.reasons[at][row] = (
                "not replayed",
                f"{count:,} of {len(rows):,} usable rows are replayed as an anchor",
            )
        made.replayed = Line((lot.label,), len(lot), len(rows), count, min(count, len(rows)))

    def _count(self) -> None:
        """Count the rows of the mix by segment."""
        made = self._plan
        for lot, chosen in zip(made.every, made.chosen, strict=True) if self._settings.rules else ():
            counts = np.bincount(lot.codes[chosen], minlength=len(lot.tags)).tolist()
            for tags, count in zip(lot.tags, counts, strict=True):
                if count:
                    made.segments[segments.segment(self._settings.rules, tags) or NONE] += count


def _named(level: Level, made: Plan) -> Level:
    """Return a level whose names are those of groups that there are; raise ``ConfigError`` that names the nearest."""
    if level.by == DATASET:
        names = {lot.dataset.ref: lot.label for lot in made.lots} | {lot.label: lot.label for lot in made.lots}
    elif level.by == segments.TAG:
        names = {name: name for name in (*(rule.name for rule in made.settings.rules), NONE)}
    else:
        values = {tags[level.by] for lot in made.lots for tags in lot.tags if level.by in tags}
        names = {value: value for value in (*values, NONE)}
    for name in (*level.weights, *level.rows):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            known = ", ".join(sorted(names)[:12])
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {known}."
            raise ConfigError(f"level by {level.by}: no row has the {level.by} {name!r}", hint)
    update = {key: {names[name]: value for name, value in getattr(level, key).items()} for key in ("weights", "rows")}
    return level.model_copy(update=update)


def _order(ids: Numbers, seed: int) -> Numbers:
    """Return a number for each row that decides the choice: a mixing of its content hash and the seed (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = ids + np.uint64((seed + 1) % 2**64) * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))

"""What a data card says of a dataset: its manifest, its lineage, and one pass over its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from honed.data import licences, segmented
from honed.data.language import language
from honed.data.map import kinds
from honed.data.mix import lots
from honed.errors import StoreError
from honed.records import ATTRIBUTES, Conversation, Preference, Rating
from honed.rounds.trial import kept as trials
from honed.rounds.trial.outcome import TrialOutcome
from honed.segments import TAG, Rule, shown
from honed.store import artifacts, columns, datasets
from honed.store.artifacts import Artifact
from honed.store.columns import Part
from honed.store.workspace import Workspace

LANGUAGES_READ = 20_000
"""Answers whose language is told, chosen by hash; of a smaller dataset all."""
UNCLEAR = "unclear"
EXAMPLES = 4
JUDGED: tuple[Part, ...] = ("preferences", "ratings")
COUNTED = ("task", "dataset", "source", *ATTRIBUTES, TAG)
_READ = ["id", "split", "messages", "check", "tags", "declared"]
_EDGES = 2.0 ** (np.arange(0, 33) / 2)
"""Bounds of the bands of lengths, in words: two to each doubling, up to 65,536."""


class Ancestor(NamedTuple):
    """A dataset that it was made of, ``depth`` steps before; ``made`` says by what. One that is gone has no facts."""

    depth: int
    ref: str
    made: str
    facts: Mapping[str, Any]


@dataclass
class Scan:
    """What one pass over the rows, preferences and ratings counts; lengths are arrays of words, a number an answer."""

    by: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    declared: dict[str, Counter[str]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    verbs: Counter[str] = field(default_factory=Counter)
    told: int = 0
    checked: int = 0
    many_turns: int = 0
    prompts: Any = ()
    answers: Any = ()
    examples: list[Conversation] = field(default_factory=list)


@dataclass(frozen=True)
class Card:
    """All that the page and the Markdown say. ``licences`` are by source, ``unknown`` what nobody checked or said.

    ``trials`` are of a selection: whether training on it beat training on other rows.
    """

    dataset: Artifact
    scan: Scan
    ancestors: Sequence[Ancestor]
    licences: Mapping[str, str]
    conflicts: Sequence[Mapping[str, str]]
    unknown: Sequence[str]
    trials: Sequence[TrialOutcome] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The manifest's facts."""
        return self.dataset.manifest.facts

    @property
    def learned(self) -> Mapping[str, int]:
        """What is trained on: instructions, and preferences and ratings if there are any."""
        rows: dict[str, int] = {"instructions": int(self.facts["train"])}
        counts = rows | {part: int(self.facts.get(part, 0)) for part in JUDGED}
        return {name: count for name, count in counts.items() if count} or rows

    @property
    def rows(self) -> int:
        """Training and held-out rows, preferences and ratings."""
        return sum(self.learned.values()) + int(self.facts["heldout"])


def card(workspace: Workspace, dataset: Artifact) -> Card:
    """Read a dataset once and return what there is to say of it."""
    scan = _scan(dataset, segmented.rules(workspace, dataset))
    carried = licences.carried([dataset])
    tried = trials.of(workspace, dataset.ref)
    return Card(
        dataset=dataset,
        scan=scan,
        ancestors=list(_ancestors(workspace, dataset, 0, set())),
        licences=carried,
        conflicts=dataset.manifest.facts.get("licence_conflicts", ()),
        unknown=[*_untried(dataset, tried), *_unknown(workspace, dataset, scan, carried)],
        trials=tried,
    )


def made(artifact: Artifact) -> str:
    """Say by what a dataset was made."""
    facts, config = artifact.manifest.facts, artifact.manifest.config
    if "curation" in facts:
        return "curated: " + ", ".join(step["step"] for step in facts["curation"])
    if "mix" in facts:
        return "mixed by " + ", then ".join(facts["mix"]["levels"])
    if "synthetic" in facts:
        return f"synthesized: {facts['synthetic']['method']}"
    if "by" in config:
        return "selected by " + ", ".join(config["by"])
    if "files" in config:
        return "imported from " + ", ".join(str(one["file"]).rpartition("/")[2] for one in facts.get("sources", ()))
    if "derive" in config:
        return "derived from feedback"
    return "made by a round" if "replay" in config else "written"


def histogram(lengths: Any) -> tuple[list[float], list[int]]:
    """Return the bounds and the counts of the bands of lengths, from the first that isn't empty to the last."""
    counts, _ = np.histogram(np.clip(lengths, 1, _EDGES[-1]), _EDGES)
    there = np.flatnonzero(counts)
    if not len(there):
        return [], []
    first, last = int(there[0]), int(there[-1])
    return _EDGES[first : last + 2].round(1).tolist(), counts[first : last + 1].tolist()


def _scan(dataset: Artifact, rules: Sequence[Rule]) -> Scan:
    scan = Scan()
    lengths: tuple[list[Any], list[Any]] = ([], [])
    share = min(1.0, LANGUAGES_READ / max(1, _answers(dataset)))
    examples: dict[str, tuple[str, Conversation]] = {}
    for table, counted, ideal in _tables(dataset):
        if not len(table):
            continue
        if counted:
            _tags(scan, table, rules)
        if ideal:
            _examples(examples, table)
        words, turns, last = _words(table)
        lengths[0].append(words - last)
        lengths[1].append(last)
        scan.many_turns += int((turns > 3).sum())
        scan.checked += len(table) - table["check"].null_count
        _told(scan, table, share, requests=counted)
    scan.prompts, scan.answers = (np.concatenate(parts) if parts else np.zeros(0) for parts in lengths)
    common = sorted(examples, key=lambda task: -sum(scan.by.get("task", {}).get(task, Counter()).values()))
    scan.examples = [examples[task][1] for task in common[:EXAMPLES]]
    return scan


def _answers(dataset: Artifact) -> int:
    facts = dataset.manifest.facts
    return sum(int(facts.get(name, 0)) for name in ("train", "heldout", "preferences", "preferences", "ratings"))


def _tables(dataset: Artifact) -> Iterator[tuple[pa.Table, bool, bool]]:
    """Yield everything as rows of one answer; whether they count (not so the rejected ones), and whether as ideal."""
    yield from ((table, True, True) for table in lots.tables(dataset))
    for table in datasets.tables(dataset, "preferences"):
        pairs = [columns.record("preferences", plain) for plain in table.to_pylist()]
        for answer in ("chosen", "rejected"):
            rows = [pair.row(getattr(pair, answer)) for pair in pairs if isinstance(pair, Preference)]
            yield columns.table("rows", rows, ["train"] * len(rows)), answer == "chosen", answer == "chosen"
    for table in datasets.tables(dataset, "ratings"):
        rated = [columns.record("ratings", plain) for plain in table.to_pylist()]
        rows = [rating.row() for rating in rated if isinstance(rating, Rating)]
        yield columns.table("rows", rows, ["train"] * len(rows)), True, False


def _tags(scan: Scan, table: pa.Table, rules: Sequence[Rule]) -> None:
    pairs = zip(table["split"].to_pylist(), table["tags"].to_pylist(), strict=True)
    for (split, text), count in Counter(pairs).items():
        for tag, value in shown(rules, orjson.loads(text or "{}")).items():
            if tag in COUNTED:
                scan.by.setdefault(tag, {}).setdefault(value, Counter())[split] += count
    for text, count in Counter(table["declared"].to_pylist()).items():
        for tag, where in orjson.loads(text or "{}").items():
            scan.declared.setdefault(tag, Counter())[where] += count


def _words(table: pa.Table) -> tuple[Any, Any, Any]:
    """Return the words of each row, its number of turns, and the words of its last turn."""
    lists = table["messages"].combine_chunks()
    turns = np.asarray(pc.list_value_length(lists))
    each = np.asarray(pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lists.flatten().field(1)))))
    ends = np.cumsum(turns)
    return np.add.reduceat(each, ends - turns), turns, each[ends - 1]


def _told(scan: Scan, table: pa.Table, share: float, *, requests: bool) -> None:
    """Count the languages of some answers, and (``requests``) what their prompts ask for, by the verb."""
    ids = table["id"].to_pylist()
    wanted = [place for place, id_ in enumerate(ids) if int(id_[:8], 16) < share * 2**32]
    lists = table["messages"].combine_chunks()
    roles, texts = lists.flatten().field(0), lists.flatten().field(1)
    ends = [0, *np.cumsum(np.asarray(pc.list_value_length(lists))).tolist()]
    for place in wanted:
        scan.languages[language(texts[ends[place + 1] - 1].as_py()) or UNCLEAR] += 1
        if requests:
            asked = [texts[at].as_py() for at in range(ends[place], ends[place + 1]) if roles[at].as_py() == "user"]
            scan.verbs[kinds.kind("\n".join(asked))[0]] += 1
    scan.told += len(wanted)


def _examples(found: dict[str, tuple[str, Conversation]], table: pa.Table) -> None:
    """Keep of each task the row with the smallest hash; rows without a task are one task."""
    best: dict[str, tuple[str, int]] = {}
    for place, (id_, text) in enumerate(zip(table["id"].to_pylist(), table["tags"].to_pylist(), strict=True)):
        task = orjson.loads(text or "{}").get("task", "")
        if task not in best or id_ < best[task][0]:
            best[task] = (id_, place)
    for task, (id_, place) in best.items():
        if task not in found or id_ < found[task][0]:
            row = columns.at("rows", table, place)
            assert isinstance(row, Conversation)
            found[task] = (id_, row)


def _ancestors(workspace: Workspace, dataset: Artifact, depth: int, seen: set[str]) -> Iterator[Ancestor]:
    yield Ancestor(depth, dataset.ref, made(dataset), dataset.manifest.facts)
    for ref in dataset.manifest.parents:
        if ref in seen:
            continue
        seen.add(ref)
        try:
            parent = artifacts.resolve(workspace, "datasets", ref)
        except StoreError:
            yield Ancestor(depth + 1, ref, "not in this workspace", {})
            continue
        yield from _ancestors(workspace, parent, depth + 1, seen)


def _untried(dataset: Artifact, tried: Sequence[TrialOutcome]) -> Iterator[str]:
    """Yield what isn't known of a selection (the setting ``by``) that nobody has tried."""
    if not tried and dataset.manifest.config.get("by", ["random"]) != ["random"]:
        yield f"Whether its rows beat random ones isn't known: honed data trial {dataset.ref} --base MODEL."


def _unknown(workspace: Workspace, dataset: Artifact, scan: Scan, carried: Mapping[str, str]) -> Iterator[str]:
    """Yield what a reader should know isn't known."""
    undeclared = [source for source, licence in carried.items() if licence == licences.UNKNOWN]
    if undeclared:
        yield f"Nobody declared the licence of {', '.join(undeclared)}."
    steps = {step["step"] for one in _ancestors(workspace, dataset, 0, set()) for step in one.facts.get("curation", ())}
    if "pii" not in steps:
        yield "Personal data was not looked for: honed data curate does."
    if "decontaminate" not in steps:
        yield "Parts of evaluation sets were not looked for."
    if not dataset.manifest.facts["heldout"]:
        yield "No row is held out: what a model learns from it can't be measured on rows of its own kind."
    if not scan.checked:
        yield "No row has a verifier: answers can only be judged by their loss, or by people."
    if not any(tag in scan.by for tag in ATTRIBUTES):
        yield "No row declares whom it is for; nothing is guessed, so no group of people can be told apart."
    if unclear := scan.languages[UNCLEAR]:
        yield f"The language of {unclear:,} of {scan.told:,} answers is unclear: too short, or mixed."

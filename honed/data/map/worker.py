"""The map itself, in its own process: a dataset in, ``map.json`` and a page out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from honed import config
from honed.data.curate.words import words
from honed.data.language import language
from honed.data.map import cluster, naming, page, plane, thin
from honed.data.map.cluster import Clusters
from honed.data.map.config import MapConfig
from honed.data.map.coverage import FILE, Coverage, Part, Region, Typical
from honed.data.map.kinds import OTHER, kind
from honed.data.map.lexical import Lexicon
from honed.data.score.reader import Reader, targeted
from honed.data.score.vectors import Vectors, centred
from honed.data.score.watch import Watch
from honed.errors import DataError
from honed.jobs.events import ArtifactMade
from honed.jobs.job import Job
from honed.jobs.worker import main
from honed.records import Conversation, digest
from honed.store import artifacts, datasets
from honed.store.workspace import write_whole

_KIND_TAGS = ("task", "category")
_AUDIENCE = "audience"
_UNCLEAR = "unclear"
_READ_WORDS = 80
_MOST_KINDS = 24
_LEAST_ROWS = 8
_INSTRUCTIONS = "prompt"


@dataclass(frozen=True)
class _Asked:
    """A row as the map reads it."""

    id: str
    prompt: str
    said: list[str]
    answer_words: int
    language: str
    tags: Mapping[str, str]


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Draw the map of ``config.yaml``; return a ``Coverage``. Raises ``DataError`` if there are too few rows."""
    settings = config.read(MapConfig, job.path / "config.yaml")
    return _Map(job, settings, Watch(job, stopping)).run().model_dump(mode="json")


class _Map:
    """A map under way."""

    def __init__(self, job: Job, settings: MapConfig, watch: Watch) -> None:
        self._job, self._settings, self._watch = job, settings, watch
        self._dataset = artifacts.resolve(job.workspace, "datasets", settings.dataset)
        self._rows = [_asked(row) for row in datasets.rows(self._dataset, "train")]
        if len(self._rows) < _LEAST_ROWS:
            few = f"{self._dataset.ref} has {len(self._rows)} training rows, too few for a map"
            raise DataError(few, f"A map takes {_LEAST_ROWS} rows or more.")
        target = targeted(settings.measure, watch) if settings.measure.target else []
        self._target = [_asked(row) for row in target]

    def run(self) -> Coverage:
        """Read, group, name, lay out, judge, and write the page."""
        settings, rows = self._settings, self._rows
        self._watch.step("map", 0, 4)
        unit, wanted = self._vectors()
        count = settings.regions or cluster.count_for(len(rows))
        clusters = cluster.clustered(unit, count, settings.seed)
        self._watch.step("map", 1, 4)
        drawn = sorted(range(len(rows)), key=lambda place: digest([settings.seed, rows[place].id]))[: settings.points]
        points = plane.laid_out(unit[drawn], settings.seed)
        self._watch.step("map", 2, 4)
        by, kinds, pairs = self._kinds()
        regions = self._regions(unit, wanted, clusters, (np.array(drawn), points), kinds)
        found = self._judged(regions, by, kinds, pairs)
        self._watch.step("map", 3, 4)
        write_whole(self._job.path / FILE, found.model_dump_json(indent=2, exclude={"seconds", "peak_rss_bytes"}))
        page.write(self._job.path, found, self._dots(drawn, points, clusters))
        self._job.log.write(ArtifactMade(name=page.FILE, path=found.page))
        self._watch.step("map", 4, 4)
        return found

    def _vectors(self) -> tuple[Vectors, Vectors]:
        """Return the rows and the target's rows as unit vectors in one space."""
        if self._settings.measure.model is None:
            lexicon = Lexicon([row.said for row in self._rows], self._settings.seed)
            return lexicon.read([row.said for row in self._rows]), lexicon.read([row.said for row in self._target])
        reader = Reader(self._settings.measure, self._watch)
        states = reader.states({row.id: row.prompt for row in self._rows}, _INSTRUCTIONS)
        if not self._target:
            return centred(states), np.empty((0, states.shape[1]), np.float32)
        wanted = reader.states({row.id: row.prompt for row in self._target}, _INSTRUCTIONS)
        return centred(states), centred(wanted, states.mean(axis=0))

    def _kinds(self) -> tuple[str, list[str], list[tuple[str, str]]]:
        """Return by what kinds are told, each row's kind, and its verb and object."""
        pairs = [kind(row.prompt) for row in self._rows]
        tags = (self._settings.kind,) if self._settings.kind else _KIND_TAGS
        for tag in tags:
            if tag and any(tag in row.tags for row in self._rows):
                return f"tag {tag}", [row.tags.get(tag, OTHER) for row in self._rows], pairs
        if self._settings.kind:
            raise DataError(f"no row has the tag {self._settings.kind}", "Leave kind out: it is then told by the verb.")
        return "verb", [verb for verb, _ in pairs], pairs

    def _regions(
        self,
        unit: Vectors,
        wanted: Vectors,
        clusters: Clusters,
        plan: tuple[cluster.Places, plane.Points],
        kinds: Sequence[str],
    ) -> tuple[Region, ...]:
        rows, of = self._rows, clusters.of
        names = naming.distinctive([row.said for row in rows], of.tolist(), len(clusters.middles))
        typical = naming.typical(unit, clusters, [len(row.prompt) for row in rows])
        asked = np.bincount(cluster.nearest(wanted, clusters.middles), minlength=len(names)) if len(wanted) else None
        drawn, points = plan
        radius = 0.05 * float(np.ptp(points, axis=0).max())
        found = []
        for region, told in enumerate(names):
            here = np.flatnonzero(of == region)
            share = len(here) / len(rows)
            target = None if asked is None else float(asked[region] / len(wanted))
            even = thin.uneven(len(here), len(rows), len(names), self._settings.thin)
            why = even if target is None else thin.behind(share, target)
            shown = points[np.isin(drawn, here)]
            x, y = plane.densest(shown, radius) if len(shown) else (0.0, 0.0)
            found.append(
                Region(
                    part=Part(
                        name=" · ".join(told) or f"region {region + 1}",
                        rows=len(here),
                        share=share,
                        target_share=target,
                        thin=why,
                    ),
                    typical=tuple(
                        Typical(row=rows[at].id, prompt=_cut(rows[at].prompt, 300)) for at in typical[region]
                    ),
                    kinds=tuple(Counter(kinds[at] for at in here.tolist()).most_common(3)),
                    answer_words=float(np.median([rows[at].answer_words for at in here.tolist()])),
                    x=x,
                    y=y,
                )
            )
        return tuple(found)

    def _judged(
        self, regions: tuple[Region, ...], by: str, kinds: Sequence[str], pairs: Sequence[tuple[str, str]]
    ) -> Coverage:
        rows, share = self._rows, self._settings.thin
        tagged = by != "verb"
        parts = thin.parts(Counter(kinds), len(rows), share, self._target_kinds(by))
        if not tagged:  # verbs have a long tail, and an even share of them means nothing
            parts = tuple(
                part if part.target_share is not None else part.model_copy(update={"thin": ""}) for part in parts
            )
        said = Counter(row.tags[_AUDIENCE] for row in rows if _AUDIENCE in row.tags)
        audiences = thin.parts(said, len(rows), share) if said else ()
        answers = thin.bands([row.answer_words for row in rows], len(rows))
        languages = thin.languages(Counter(row.language for row in rows), len(rows), _UNCLEAR)
        others = {"audiences": audiences, "languages": languages, "lengths": answers}
        collect = thin.to_collect(len(rows), share, regions, parts, others)
        if tagged:
            both = Counter((row.tags.get(by.removeprefix("tag "), OTHER), row.tags.get(_AUDIENCE, "")) for row in rows)
            collect += thin.empty_pairs(both, parts, audiences)
        thinned = sum(bool(region.part.thin) for region in regions)
        return Coverage(
            dataset=self._dataset.ref,
            rows=len(rows),
            read_by=self._settings.measure.model or "words",
            target=self._settings.measure.target,
            target_rows=len(self._target),
            regions=regions,
            kinds_by=by,
            kinds=parts[:_MOST_KINDS],
            objects=_objects(pairs),
            prompt_words=_quantiles([len(words(row.prompt)) for row in rows]),
            answer_words=_quantiles([row.answer_words for row in rows]),
            answers=answers,
            languages=languages,
            audiences=audiences,
            headline=_headline(len(rows), regions, thinned, self._settings.measure.target),
            collect=tuple(collect),
            page=str(self._job.path / page.FILE),
        )

    def _target_kinds(self, by: str) -> dict[str, float] | None:
        if not self._target:
            return None
        tag = by.removeprefix("tag ")
        found = [kind(row.prompt)[0] if by == "verb" else row.tags.get(tag) for row in self._target]
        if any(name is None for name in found):
            return None  # the target's rows don't say what kind they are
        return {str(name): count / len(found) for name, count in Counter(found).items()}

    def _dots(self, drawn: Sequence[int], points: plane.Points, clusters: Clusters) -> list[page.Dot]:
        rows = self._rows
        return [
            page.Dot(float(x), float(y), int(clusters.of[place]), _cut(rows[place].prompt, 140))
            for place, (x, y) in zip(drawn, points, strict=True)
        ]


def _asked(row: Conversation) -> _Asked:
    prompt = "\n".join(turn.content for turn in row.prompt if turn.role == "user")
    spoken = language(f"{prompt}\n{row.answer}") or _UNCLEAR
    return _Asked(row.id, prompt, naming.telling(words(prompt))[:_READ_WORDS], len(words(row.answer)), spoken, row.tags)


def _objects(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[tuple[str, int], ...]]:
    """The commonest objects of the commonest verbs."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for verb, thing in pairs:
        if thing:
            found[verb][thing] += 1
    order = sorted(found, key=lambda verb: -found[verb].total())
    return {verb: tuple(found[verb].most_common(4)) for verb in order[:_MOST_KINDS]}


def _quantiles(values: Sequence[int]) -> tuple[float, float, float]:
    low, middle, high = (float(one) for one in np.quantile(values, [0.1, 0.5, 0.9]))
    return low, middle, high


def _headline(rows: int, regions: Sequence[Region], thinned: int, target: str | None) -> str:
    beside = f" beside {target}" if target else ""
    verb = "is" if thinned == 1 else "are"
    thin_ones = f"{thinned} of them {verb} thin{beside}" if thinned else f"none of them is thin{beside}"
    return f"{rows:,} instructions in {len(regions)} regions; {thin_ones}."


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


if __name__ == "__main__":
    main(work)

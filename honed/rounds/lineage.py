"""Where a model came from, down to what people said, and what became of what they said: walks over manifests."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, get_args

from honed.errors import StoreError
from honed.records import Conversation, Preference, Rating, Record
from honed.store import aliases, artifacts, datasets
from honed.store.artifacts import Artifact, Kind
from honed.store.workspace import Workspace

Key = tuple[Kind, str]
"""Kind and ref: a model and a dataset may have the same name."""

_NAMES: Mapping[Kind, Literal["model", "dataset", "round"]] = {
    "models": "model",
    "datasets": "dataset",
    "rounds": "round",
}


class Node(Record):
    """A point of a walk, and those that it leads to.

    ``outside`` is a model that isn't the workspace's own, or an artifact that is gone. ``again``: it stands elsewhere
    in the same tree, with what it leads to. ``facts`` are JSON values.
    """

    kind: Literal["model", "dataset", "round", "row", "event", "outside"]
    ref: str
    facts: Mapping[str, Any] = {}
    again: bool = False
    nodes: tuple[Node, ...] = ()


class Explained(Record):
    """Both walks from one point: to what it was made of (None for an event), and to what was made of it."""

    kind: Literal["model", "dataset", "round", "event"]
    ref: str
    sources: Node | None
    uses: Node


def explain(workspace: Workspace, spec: str, rows: int = 3) -> Explained:
    """Walk from ``spec`` down to its sources and up to its uses; ``rows`` records of each feedback dataset are shown.

    ``spec`` is a model or an alias, else a dataset, else a round, else the id of an interaction or of feedback;
    ``datasets/NAME`` and the like choose among equal names. Raises ``StoreError`` if it is none of them.
    """
    graph = _Graph(workspace)
    key = graph.find(aliases.resolve(workspace, spec))
    if key is None:
        return Explained(kind="event", ref=spec, sources=None, uses=graph.uses_of_event(spec))
    sources = graph.node(key, _Walk(graph.parents.__getitem__, down=True, rows=rows))
    uses = graph.node(key, _Walk(graph.children.__getitem__))
    return Explained(kind=_NAMES[key[0]], ref=key[1], sources=sources, uses=uses)


@dataclass
class _Walk:
    """One walk: which way it goes, how many records it shows at its ends, and what it met."""

    following: Callable[[Key], Iterable[Key]]
    down: bool = False
    rows: int = 0
    seen: set[Key] = field(default_factory=set)


class _Graph:
    """Every artifact of a workspace, with edges in both directions."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        kinds: tuple[Kind, ...] = get_args(Kind)
        self.artifacts: dict[Key, Artifact] = {
            (kind, artifact.ref): artifact for kind in kinds for artifact in artifacts.listing(workspace, kind)
        }
        self.parents: dict[Key, list[Key]] = {key: [] for key in self.artifacts}
        self.outside: dict[Key, list[str]] = defaultdict(list)
        self.children: dict[Key, list[Key]] = {key: [] for key in self.artifacts}
        for key, artifact in self.artifacts.items():
            for ref, hash_ in artifact.manifest.parents.items():
                parent = self._parent(ref, hash_)
                if parent is None:
                    self.outside[key].append(ref)
                else:
                    self.parents[key].append(parent)
                    self.children[parent].append(key)
        self._counted: dict[Key, int] = {}
        moves = {name: aliases.target(workspace, name) for name in aliases.names(workspace)}
        self._aliases = {ref: [name for name, now in moves.items() if now == ref] for ref in moves.values()}

    def find(self, spec: str) -> Key | None:
        """Return the artifact of ``name@vN``, the newest of ``name``, either after a kind and '/'; or None."""
        kind, slash, ref = spec.partition("/")
        kinds = [one for one in get_args(Kind) if one == kind] if slash else ["models", "datasets", "rounds"]
        for one in kinds:
            versions = [
                key
                for key, artifact in self.artifacts.items()
                if key[0] == one and (ref if slash else spec) in (key[1], artifact.manifest.name)
            ]
            if versions:
                return max(versions, key=lambda key: self.artifacts[key].manifest.version)
        return None

    def node(self, key: Key, walk: _Walk) -> Node:
        """Return the artifact with all that the walk meets from it; what it met before isn't followed again."""
        kind, facts = _NAMES[key[0]], self._facts(key)
        if key in walk.seen:
            return Node(kind=kind, ref=key[1], facts=facts, again=True)
        walk.seen.add(key)
        nodes = [self.node(one, walk) for one in walk.following(key)]
        if walk.down:
            nodes += [Node(kind="outside", ref=ref) for ref in self.outside[key]]
            if facts.get("from feedback") and not any(self._traced(one) for one in self.parents[key]):
                nodes += [_record(record) for record in islice(_traced_records(self.artifacts[key]), walk.rows)]
        return Node(kind=kind, ref=key[1], facts=facts, nodes=tuple(nodes))

    def uses_of_event(self, id_: str) -> Node:
        """Return the walk from an event over the datasets that hold a record of it to models and rounds."""
        holding: dict[Key, list[str]] = {}
        for key, artifact in self.artifacts.items():
            if key[0] == "datasets":
                records = [record for _, record, events in datasets.traces(artifact) if id_ in events]
                if records:
                    holding[key] = list(dict.fromkeys(records))
        if not holding:
            raise self._unknown(id_)

        def following(key: Key) -> list[Key]:
            return [one for one in self.children[key] if one[0] != "datasets" or one in holding]

        walk = _Walk(following)
        first = [key for key in holding if not holding.keys() & set(self.parents[key])]
        nodes = [self.node(key, walk) for key in first]
        facts = {"records": list(dict.fromkeys(record for records in holding.values() for record in records))}
        return Node(kind="event", ref=id_, facts=facts, nodes=tuple(nodes))

    def _parent(self, ref: str, hash_: str) -> Key | None:
        """Return the artifact that a manifest names: by its kind if that is said, else the one with this content."""
        kind, slash, rest = ref.partition("/")
        for one in get_args(Kind):
            if slash and one == kind and (one, rest) in self.artifacts:
                return one, rest
            if not slash and (one, ref) in self.artifacts and self.artifacts[one, ref].manifest.hash == hash_:
                return one, ref
        return None

    def _facts(self, key: Key) -> dict[str, Any]:
        manifest = self.artifacts[key].manifest
        facts: dict[str, Any] = {"created": manifest.created}
        if names := self._aliases.get(key[1]) if key[0] == "models" else None:
            facts["aliases"] = names
        if "job" in manifest.facts:
            facts["job"] = manifest.facts["job"]
        if "verdict" in manifest.facts:
            facts["verdict"] = manifest.facts["verdict"]
        if key[0] == "datasets":
            facts |= {part: manifest.facts[part] for part in _PARTS if manifest.facts.get(part)}
            if traced := self._traced(key):
                facts["from feedback"] = traced
        return facts

    def _traced(self, key: Key) -> int:
        """How many records of a dataset came from feedback."""
        if key not in self._counted:
            traced = datasets.traces(self.artifacts[key]) if key[0] == "datasets" else ()
            self._counted[key] = sum(1 for _ in traced)
        return self._counted[key]

    def _unknown(self, spec: str) -> StoreError:
        names = sorted({artifact.manifest.name for artifact in self.artifacts.values()})
        near = difflib.get_close_matches(spec.partition("@")[0], names, n=1)
        return StoreError(
            f"{spec!r} is no model, dataset or round of {self.workspace.path}, and no dataset was derived from it",
            f"Did you mean {near[0]!r}?" if near else "Feedback is used in the next round, if its person allows it.",
        )


_PARTS = ("train", "heldout", "preferences", "ratings")


def _traced_records(dataset: Artifact) -> Iterator[Conversation | Preference | Rating]:
    records: Iterator[Conversation | Preference | Rating]
    for records in (datasets.rows(dataset, "train"), datasets.preferences(dataset), datasets.ratings(dataset)):
        yield from (record for record in records if record.events)


def _record(record: Conversation | Preference | Rating) -> Node:
    """A record as a node that leads to its events."""
    facts: dict[str, Any] = {"asked": record.prompt[-1].content if record.prompt else ""}
    if isinstance(record, Conversation):
        facts |= {"part": "row", "answer": record.answer}
    elif isinstance(record, Preference):
        facts |= {"part": "preference", "answer": record.chosen, "rejected": record.rejected}
    else:
        facts |= {"part": "rating", "answer": record.answer, "good": record.good}
    events = tuple(Node(kind="event", ref=event) for event in record.events)
    return Node(kind="row", ref=record.id, facts=facts, nodes=events)

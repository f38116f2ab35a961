"""The optimizer steps of a run from any position on, whether the rows are in memory (here) or streamed (stream.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from honed.train.batches import StepRows
from honed.train.prefixes import Example
from honed.train.rows import Rows

E = TypeVar("E", bound=Example)

Position = Mapping[str, Any]
"""JSON that says how far a run has come, beside the number of steps that are done; kept in its checkpoints."""


@dataclass(frozen=True)
class Planned(Generic[E]):
    """One optimizer step, ready to be computed: the ``number``-th of ``total``, which is an estimate in a stream.

    ``rows.packs`` are indices into ``examples`` and ``names``. ``passed`` says how many steps of this one's length
    came before it, ``whole`` how many make up the run: exact in memory, where all count alike; in a stream a step's
    length is its share of the rows, and both may be fractions. ``position`` is that after the step.
    """

    number: int
    total: int
    passed: float
    whole: float
    rows: StepRows
    examples: Sequence[E]
    names: Sequence[str]
    position: Position

    @property
    def row_names(self) -> list[str]:
        """The content ids of the step's own rows."""
        return [self.names[index] for pack in self.rows.packs for index in pack]


class Steps(Protocol[E]):
    """The order of a run: a pure function of data, settings and seed, so that a resume goes on as if never stopped."""

    def after(self, done: int, position: Position) -> Iterator[Planned[E]]:
        """Yield the steps that follow ``done`` steps at ``position``; it is empty, like a new run's, at the start."""
        ...

    def seen(self) -> Mapping[str, int]:
        """Return ``rows``, ``left_out``, ``dataset_tokens`` and ``supervised_tokens`` of the run, once it is through.

        Rows are counted once, tokens each time that they are trained on.
        """
        ...


@dataclass(frozen=True)
class InMemory(Generic[E]):
    """All examples and every step at hand."""

    rows: Rows[E]
    planned: Sequence[StepRows]

    def after(self, done: int, position: Position) -> Iterator[Planned[E]]:
        """As ``Steps``; the number of steps says it all."""
        total = len(self.planned)
        for number in range(done, total):
            yield Planned(
                number=number + 1,
                total=total,
                passed=number,
                whole=total,
                rows=self.planned[number],
                examples=self.rows.encoded,
                names=self.rows.names,
                position=position,
            )

    def seen(self) -> dict[str, int]:
        """As ``Steps``, from the whole plan."""
        tokens, supervised = count(self.planned, self.rows.encoded)
        return {
            "rows": self.rows.count,
            "left_out": len(self.rows.left_out),
            "dataset_tokens": tokens,
            "supervised_tokens": supervised,
        }


def count(steps: Sequence[StepRows], examples: Sequence[Example]) -> tuple[int, int]:
    """Return the tokens of the steps' rows, each as often as it is seen, and how many of them are supervised."""
    seen = [row for step in steps for pack in step.packs for index in pack for row in examples[index].rows]
    return sum(len(row.ids) for row in seen), sum(row.supervised for row in seen)

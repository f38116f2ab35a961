"""What a harness's tasks left: its own metrics, and each row as honed keeps answers. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from honed.errors import DataError
from honed.evaluate.outcome import Answer, Floors, HarnessScores, RowLoss, rate
from honed.records import digest


@dataclass(frozen=True)
class Ran:
    """Rows with their verdicts, rows with a loss, the harness's numbers; ``floors`` where they can be had."""

    answers: Mapping[str, Answer]
    losses: Mapping[str, RowLoss]
    scores: HarnessScores
    floors: Floors | None = None

    @property
    def hash(self) -> str:
        """16 hex digits over what was asked, by which two evaluations are known to be of the same rows."""
        rows = sorted(self.answers.items())
        asked = [[row, one.ideal, [[turn.role, turn.content] for turn in one.prompt]] for row, one in rows]
        return digest([self.scores.harness, dict(self.scores.passed_by), asked])


@dataclass
class Metrics:
    """The values of a task's rows under each of the harness's metrics, in the order in which it gives them."""

    task: str
    values: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def add(self, row: str, metric: str, value: object) -> None:
        """Keep a row's value; anything but a number (a pair that only a whole corpus can be scored by) is None."""
        number = isinstance(value, int | float) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0)
        self.values.setdefault(metric, {})[row] = float(value) if number else None  # type: ignore[arg-type]

    def passing(self, wanted: str | None) -> str | None:
        """Return the metric that tells which rows pass: the wanted one, or the first that is from 0 to 1 in all rows.

        A metric may be named without its filter (``exact_match`` for ``exact_match,strict-match``). None if no metric
        judges rows one by one. Raises ``DataError`` if the wanted one isn't there or doesn't.
        """
        fit = [name for name, rows in self.values.items() if _judges(rows.values())]
        if wanted is None:
            return next(iter(fit), None)
        named = [name for name in fit if wanted in (name, name.partition(",")[0])]
        if not named:
            have = ", ".join(fit) or "none that judges rows"
            raise DataError(f"{self.task} has no metric {wanted!r} that is from 0 to 1 in each row", f"It has: {have}.")
        return named[0]

    def graded(self, metric: str) -> bool:
        """Return whether a metric grades rows; one that is 0 or 1 in all of them only passes them."""
        return any(value not in (0, 1) for value in self.values[metric].values())


def _judges(values: Iterable[float | None]) -> bool:
    return all(value is not None and 0 <= value <= 1 for value in values)


@dataclass(frozen=True)
class TaskFloors:
    """Verdicts by row: of each constant answer that was tried on a task, and of answering with the prompt."""

    tried: Mapping[str, Mapping[str, bool]]
    echo: Mapping[str, bool]

    @property
    def best(self) -> str:
        """The constant that passes most rows."""
        return max(self.tried, key=lambda text: sum(self.tried[text].values()))

    def of(self, row: str) -> dict[str, bool]:
        """Return the verdicts on one row, as an answer keeps them."""
        return {"constant": self.tried[self.best][row], "echo": self.echo[row]}


def together(floors: Mapping[str, TaskFloors]) -> Floors | None:
    """Return the floors of several tasks, each by the constant that is its best; None without any."""
    if not floors:
        return None
    only = next(iter(floors)) if len(floors) == 1 else ""
    rates = {
        text if only else f"{task}: {text}": sum(rows.values()) / len(rows)
        for task, one in floors.items()
        for text, rows in one.tried.items()
    }
    return Floors(
        constant=rate(passed for one in floors.values() for passed in one.tried[one.best].values()),
        constant_answer=floors[only].best if only else "each task's best constant",
        constants=rates,
        echo=rate(passed for one in floors.values() for passed in one.echo.values()),
    )

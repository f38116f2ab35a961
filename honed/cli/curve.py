"""A learning curve in the terminal: settings in, a table and its verdict out. Part of ``honed train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.cli.options import say
from honed.errors import ConfigError
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from honed.jobs.job import Job
    from honed.rounds.curve.outcome import Change, CurveOutcome, Point
    from honed.train.config import TrainConfig

_EVALUATE = "evaluate."


def split(sets: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Part ``--set`` overrides into those of training and, as values, those that begin with ``evaluate.``."""
    from honed.config import given
    from honed.evaluate.config import EvaluateConfig

    own = tuple(item for item in sets if not item.startswith(_EVALUATE))
    return own, given(EvaluateConfig, "evaluate", [item for item in sets if item.startswith(_EVALUATE)])


def reached(losses: tuple[float, ...], curve: str | None) -> tuple[float, ...]:
    """Return what ``--reach`` gives. Raises ``ConfigError`` where there is no curve that could reach it."""
    if losses and curve is None:
        raise ConfigError("--reach needs a learning curve", "Give its sizes: --curve 16,64,256,1k,all.")
    return losses


def start(
    workspace: Workspace, config: TrainConfig, text: str, evaluation: dict[str, Any], reach: tuple[float, ...] = ()
) -> Job:
    """Start the curve of ``--curve text``."""
    from honed.rounds.curve import sizes
    from honed.rounds.curve.run import run

    return run(workspace, config, sizes.parse(text), evaluation, reach)


def tell(result: dict[str, Any]) -> None:
    """Print the table and what it shows."""
    from rich.console import Console

    from honed.rounds.curve.outcome import CurveOutcome

    found = CurveOutcome.model_validate(result)
    Console().print(table(found))
    say(f"page: {Path(found.page)}")


def table(found: CurveOutcome) -> RenderableType:
    """Return a line for the base and each size, one table for the loss and one for the pass rate, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    from honed.rounds.curve import needed

    rows = f"{found.heldout:,} held-out rows"
    parts: list[RenderableType] = [
        Text(f"Learning curve of {found.base} on {found.source}, measured on {rows}", "bold")
    ]
    if found.loss_rows or not found.judged:
        parts += [Text(), _lines(found, ["steps", "min", "loss (95 %)", "gain (95 %)", "p"], _loss)]
    if found.judged:
        parts += [Text(), _lines(found, ["steps", "min", "passed % (95 %)", "points (95 %)", "p"], _passed)]
    first, *others = found.words
    parts += [Text(), Text(first, {"more helps": "bold green", "worse": "bold yellow"}.get(found.verdict, "bold"))]
    parts += [Text(f"  {sentence}") for sentence in others]
    if found.rows_for:
        said = [needed.sentence(one, found.unit, found.points[-1].size) for one in found.rows_for]
        parts += [
            Text(),
            Text(f"How many {found.unit} it takes (95 % interval):", "bold"),
            *(Text(f"  {line}") for line in said),
        ]
    return Group(*parts)


def _lines(found: CurveOutcome, names: Sequence[str], cells: Callable[[Point], list[str]]) -> Table:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in (found.unit, *names):
        made.add_column(name, justify="right", no_wrap=True)
    for point in found.points:
        one = point.trained
        ran = [f"{one.size:,}", f"{one.steps:,}", f"{one.seconds / 60:.1f}"] if one else ["base", "", ""]
        made.add_row(*ran, *cells(point))
    return made


def _loss(point: Point) -> list[str]:
    from honed.evaluate import words

    if point.loss is None or point.interval is None:
        return []
    return [f"{point.loss:.3f} ({words.span(point.interval, 1, 3)})", *_change(point.gain, 1, 3)]


def _passed(point: Point) -> list[str]:
    from honed.evaluate import words

    if point.passed is None:
        return []
    rate = words.percent(point.passed.rate).removesuffix("%").strip()
    return [f"{rate} ({words.span(point.passed.interval)})", *_change(point.pass_gain, 100, 0)]


def _change(change: Change | None, scale: float, digits: int) -> list[str]:
    from honed.evaluate import words

    if change is None:
        return ["", ""]
    span = words.span(change.interval, scale, digits)
    return [f"{words.signed(scale * change.better, digits)} ({span})", words.chance(change.p_adjusted, "")]

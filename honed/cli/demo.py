"""``honed demo``: one lap of the loop on the embedded model and instructions, ending in a table and a report."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import emit_json, json_option, say

if TYPE_CHECKING:
    from honed.evaluate.compare import Comparison
    from honed.evaluate.report import Stage
    from honed.evaluate.segment import Segment
    from honed.jobs.job import Job
    from honed.store.workspace import Workspace

HELDOUT_ROWS = 140
"""Held-out rows that are answered by both models: enough for an interval of a few points, few enough to wait for."""

MAX_TOKENS = 96
"""Longest answer: the embedded set's ideal answers are shorter."""


@click.command()
@click.argument("path", default="honed-demo", type=click.Path(path_type=Path))
@click.option("--rows", type=int, metavar="N", help="Train on the first N of the embedded rows.")
@click.option("--heldout", type=int, default=HELDOUT_ROWS, show_default=True, metavar="N", help="Held-out rows.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a setting of the training.")
@json_option
def command(path: Path, rows: int | None, heldout: int, sets: tuple[str, ...], as_json: bool) -> None:
    """Run one lap of the loop: import, evaluate, train, evaluate again, compare.

    The embedded model (SmolLM2-135M) learns the help desk of an invented company from a part of the embedded
    instructions, in the workspace PATH, and is measured against its base on instructions that it has never seen.
    """
    from honed.store import workspace as workspaces

    lap = _Lap(workspaces.init(path), as_json)
    result = lap.run(rows, heldout, sets)
    (path / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        emit_json(result)


@dataclass
class _Lap:
    """One lap: what ran, how long it took, and how much memory it needed."""

    workspace: Workspace
    as_json: bool
    stages: dict[str, Stage] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def run(self, rows: int | None, heldout: int, sets: tuple[str, ...]) -> dict[str, Any]:
        from honed.config import load
        from honed.data.config import DataConfig
        from honed.data.run import run as start_import
        from honed.evaluate import compare, curve
        from honed.evaluate.config import EvaluateConfig
        from honed.evaluate.run import run as start_evaluation
        from honed.train.config import TrainConfig
        from honed.train.run import run as start_training

        with resources.as_file(resources.files("honed.recipes") / "demo.yaml") as recipe:
            training = load(TrainConfig, "train", recipe, sets, {"rows": rows})
        questions = EvaluateConfig(model=training.base, data=training.data, rows=heldout, max_tokens=MAX_TOKENS)
        _, data = self._stage(
            "import", lambda: start_import(self.workspace, DataConfig(name=training.data, files=("builtin",)))
        )
        say(f"  training uses {training.rows or 'all'} of its {data['train']} training rows, to keep this short")
        base, _ = self._stage(
            f"evaluate the base model, {training.base}", lambda: start_evaluation(self.workspace, questions)
        )
        trained, made = self._stage("train", lambda: start_training(self.workspace, training))
        tuned, _ = self._stage(
            f"evaluate the tuned model, {made['model']}",
            lambda: start_evaluation(self.workspace, questions.model_copy(update={"model": made["model"]})),
        )
        before, after = compare.read(base), compare.read(tuned)
        return self._report(compare.compare(before, after), (before, after), curve.of_job(trained), made)

    def _stage(self, name: str, begin: Callable[[], Job]) -> tuple[Job, dict[str, Any]]:
        """Run one job in the foreground, and note what it ran on and cost."""
        from honed.cli.progress import follow
        from honed.evaluate.report import Stage

        say(f"\n[{len(self.stages) + 1}/4] {name}")
        job = begin()
        result = follow(job, self.as_json)
        ran = result.get("ran") or {key: result[key] for key in ("device", "precision", "batch_size") if key in result}
        if "tokens_per_second" in result:
            ran = {**ran, "tokens/s": f"{result['tokens_per_second']:.0f}"}
        self.stages[name] = Stage(
            seconds=result["seconds"],
            peak_rss_bytes=result["peak_rss_bytes"],
            ran={key.replace("_", " "): str(value) for key, value in ran.items()},
        )
        return job, result

    def _report(self, found: Comparison, evaluations: Any, curve: Any, made: dict[str, Any]) -> dict[str, Any]:
        from honed.cli.compare import terminal_table
        from honed.evaluate import report

        program = _program()
        where = f"--workspace {_short(self.workspace.path)}"
        next_commands = [
            f"{program} chat {made['model']} --against {made['base']} {where}",
            f"{program} data show {made['data']} --model {made['base']} {where}",
            f"{program} init my-desk && {program} data import YOUR_FILE.jsonl --as mine --workspace my-desk",
        ]
        page = report.write(
            self.workspace.path / "report",
            found,
            evaluations,
            curve=curve,
            stages=self.stages,
            next_commands=next_commands,
        )
        if not self.as_json:
            from rich.console import Console

            say("")
            Console().print(terminal_table(found))
            click.echo(f"\nReport: {_short(page)}\nNext:")
            for line in next_commands:
                click.echo(f"  {line}")
        assert found.overall is not None and found.floors is not None, "every embedded row has a verifier"
        seconds = {name: stage.seconds for name, stage in self.stages.items()}
        return {
            "base_pass_rate": found.overall.base.rate,
            "tuned_pass_rate": found.overall.tuned.rate,
            "difference": found.overall.difference,
            "interval": found.overall.interval,
            "p_value": found.overall.p_value,
            "n": found.overall.n,
            "floors": {name: rate.rate for name, rate in found.overall.floors.items()},
            "tasks": _cells(found, "task"),
            "audiences": _cells(found, "audience"),
            "seconds": {**seconds, "all": round(time.perf_counter() - self.start, 2)},
            "peak_rss_bytes": max(stage.peak_rss_bytes for stage in self.stages.values()),
            "report": str(page),
        }


def _cells(found: Comparison, tag: str) -> dict[str, dict[str, Any]]:
    """Each group of a tag; one of too few rows to say anything with its size only."""
    small = {name: {"n": count} for name, count in found.small.get(tag, {}).items()}
    return {**{one.name: _cell(one) for one in found.segments.get(tag, ())}, **small}


def _cell(segment: Segment) -> dict[str, Any]:
    return {
        "n": segment.n,
        "base": segment.base.rate,
        "tuned": segment.tuned.rate,
        "difference": segment.difference,
        "p_value": segment.p_value,
    }


def _program() -> str:
    """How the user can call honed from here: by name where it is on the path, else as it was called now."""
    return "honed" if shutil.which("honed") else _short(Path(sys.argv[0]))


def _short(path: Path) -> str:
    """A path as one would type it from the current folder."""
    here = Path.cwd()
    return str(path.resolve().relative_to(here)) if path.resolve().is_relative_to(here) else str(path)

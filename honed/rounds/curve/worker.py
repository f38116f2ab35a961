"""The process that drives a learning curve: ``python -m honed.rounds.curve.worker <job folder>``. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from honed import config as settings_file
from honed.evaluate import compare
from honed.evaluate.compare import Evaluation
from honed.evaluate.run import run as start_evaluation
from honed.jobs import worker
from honed.jobs.events import ArtifactMade, Metric
from honed.jobs.job import Job
from honed.rounds.curve import order, page, plan, verdict
from honed.rounds.curve.config import CurveConfig
from honed.rounds.curve.outcome import CurveOutcome, Measured, Trained
from honed.rounds.steps import Ledger, Steps
from honed.store import artifacts
from honed.train.objectives.kinds import KINDS
from honed.train.run import run as start_training


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Draw the curve of ``config.yaml``, going on where an earlier attempt was; return a ``CurveOutcome``."""
    config = settings_file.read(CurveConfig, job.path / "config.yaml")
    return _Curve(job, config, Steps(job, Ledger(job), stopping)).run().model_dump(mode="json")


@dataclass
class _Curve:
    """A curve under way; each step is done once, whatever happens in between."""

    job: Job
    config: CurveConfig
    steps: Steps

    def run(self) -> CurveOutcome:
        """Order the rows, train the largest size and then the others, measure all of them and the base."""
        data = str(self.steps.here("order", self._order)["data"])
        *smaller, largest = self.config.sizes
        full = self._train(largest, data, {})
        shared = plan.recipe(self.config, full)
        trained = [self._trained(size, self._train(size, data, shared)) for size in smaller]
        trained.append(self._trained(largest, full))
        models = [self.config.base, *(one.model for one in trained)]
        names = ["base", *(str(size) for size in self.config.sizes)]
        measured = Measured([self._measure(name, model, data) for name, model in zip(names, models, strict=True)])
        return self._publish(measured, trained, shared, data)

    def _order(self) -> dict[str, Any]:
        workspace, config = self.job.workspace, self.config
        source = artifacts.resolve(workspace, "datasets", config.data)
        name = f"{source.manifest.name[:58]}-curve"
        made = order.write(workspace, source, config.sizes, config.seed, name, config.objective)
        said = ", ".join(f"{size:,}" for size in config.sizes)
        _, unit = plan.examples(source, config.objective)
        turns = ", the tasks in turn" if unit == "rows" else ""
        self.job.log.note(f"{made.ref}: {said} {unit} of {source.ref}, each size within the next{turns}")
        return {"data": made.ref}

    def _train(self, size: int, data: str, shared: Mapping[str, Any]) -> dict[str, Any]:
        wanted = plan.training(self.config, size, data, shared)
        return self.steps.away(f"train {size}", wanted, lambda: start_training(self.job.workspace, wanted))

    def _trained(self, size: int, result: Mapping[str, Any]) -> Trained:
        ran = result["ran"]
        return Trained(
            size=size,
            **{key: result[key] for key in ("rows", "left_out", "model", "steps", "epochs", "seconds")},
            batch_tokens=ran["batch_tokens"],
            learning_rate=ran["learning_rate"],
            job=self.steps.ledger.of(f"train {size}")["job"],
        )

    def _measure(self, name: str, model: str, data: str) -> Evaluation:
        step = f"evaluate {name}"
        wanted = plan.evaluation(self.config, model, data)
        self.steps.away(step, wanted, lambda: start_evaluation(self.job.workspace, wanted))
        return compare.read(Job(self.job.workspace.jobs / self.steps.ledger.of(step)["job"]))

    def _publish(
        self, measured: Measured, trained: list[Trained], shared: Mapping[str, Any], data: str
    ) -> CurveOutcome:
        source = artifacts.resolve(self.job.workspace, "datasets", self.config.data)
        _, unit = plan.examples(source, self.config.objective)
        points, objective = measured.points(trained), self.config.objective
        lowered = KINDS[objective].likelihood  # else what the loss does as rows are added is no matter of a law
        law = measured.law(trained) if lowered else None
        said, sentences = verdict.judge(measured, points, law, unit, objective)
        found = CurveOutcome(
            data=data,
            source=self.config.data,
            unit=unit,
            base=self.config.base,
            heldout=measured.evaluations[0].outcome.rows,
            loss_rows=len(measured.loss_rows),
            judged=len(measured.judged),
            points=points,
            law=law,
            recipe=dict(shared),
            objective=objective,
            rows_for=measured.rows_for(trained, law, self.config.reach) if lowered else (),
            verdict=said,
            words=tuple(sentences),
            page=str(self.job.path / page.FILE),
        )
        for point in points:
            if point.loss is not None:
                self.job.log.write(Metric(name="curve heldout_loss", value=point.loss, step=point.size))
            if point.passed is not None:
                self.job.log.write(Metric(name="curve pass_rate", value=point.passed.rate, step=point.size))
        page.write(self.job.path, found)
        self.job.log.write(ArtifactMade(name=page.FILE, path=found.page))
        return found


if __name__ == "__main__":
    worker.main(work)

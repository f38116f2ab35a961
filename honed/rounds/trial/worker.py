"""The process that drives a trial: ``python -m honed.rounds.trial.worker <job folder>``. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from honed import config as settings_file
from honed.evaluate import compare
from honed.evaluate.compare import Evaluation
from honed.evaluate.run import run as start_evaluation
from honed.jobs import worker
from honed.jobs.job import Job
from honed.rounds.curve.outcome import Measured, Trained
from honed.rounds.steps import Ledger, Steps
from honed.rounds.trial import outcome, plan
from honed.rounds.trial.config import TrialConfig
from honed.rounds.trial.outcome import TrialOutcome
from honed.train.run import run as start_training

_BASE, _AGAINST, _DATA = 0, 1, 2


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Hold the trial of ``config.yaml``, going on where an earlier attempt was; return a ``TrialOutcome``."""
    config = settings_file.read(TrialConfig, job.path / "config.yaml")
    return _Trial(job, config, Steps(job, Ledger(job), stopping)).run().model_dump(mode="json")


@dataclass
class _Trial:
    """A trial under way; each step is done once, whatever happens in between."""

    job: Job
    config: TrialConfig
    steps: Steps

    def run(self) -> TrialOutcome:
        """Train on the selection, then on the other rows with its recipe; measure both and the base; compare."""
        config = self.config
        own = self._train("data", config.data, {})
        other = self._train("against", config.against, plan.recipe(config, own))
        trained = [self._trained("against", other), self._trained("data", own)]
        models = [("base", config.base), ("against", trained[0].model), ("data", trained[1].model)]
        measured = Measured([self._measure(name, model) for name, model in models])
        points = measured.points(trained)
        tokens = (int(other["dataset_tokens"]), int(own["dataset_tokens"]))
        changes = (measured.loss_change(_AGAINST, _DATA), measured.pass_change(_AGAINST, _DATA))
        verdict, words = outcome.judge((config.against, config.data), points, tokens, changes)
        return TrialOutcome(
            data=config.data,
            against=config.against,
            base=config.base,
            heldout=measured.evaluations[0].outcome.rows,
            points=(points[_BASE], points[_AGAINST], points[_DATA]),
            tokens=tokens,
            loss=changes[0],
            passed=changes[1],
            verdict=verdict,
            words=words,
        )

    def _train(self, step: str, data: str, shared: Mapping[str, Any]) -> dict[str, Any]:
        wanted = plan.training(self.config, data, shared)
        return self.steps.away(f"train {step}", wanted, lambda: start_training(self.job.workspace, wanted))

    def _trained(self, step: str, result: Mapping[str, Any]) -> Trained:
        ran = result["ran"]
        return Trained(
            size=result["rows"],
            **{key: result[key] for key in ("rows", "left_out", "model", "steps", "epochs", "seconds")},
            batch_tokens=ran["batch_tokens"],
            learning_rate=ran["learning_rate"],
            job=self.steps.ledger.of(f"train {step}")["job"],
        )

    def _measure(self, name: str, model: str) -> Evaluation:
        step = f"evaluate {name}"
        wanted = plan.evaluation(self.config, model)
        self.steps.away(step, wanted, lambda: start_evaluation(self.job.workspace, wanted))
        return compare.read(Job(self.job.workspace.jobs / self.steps.ledger.of(step)["job"]))


if __name__ == "__main__":
    worker.main(work)

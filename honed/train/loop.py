"""The training loop, short enough to read aloud. Everything that isn't the loop is a named step elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.errors import HonedError
from honed.jobs.events import ArtifactMade, Metric, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.chat import Encoded
from honed.train import checkpoint
from honed.train.batches import Pack, StepRows
from honed.train.defaults import Settings
from honed.train.optim import Optimizer, learning_rate

CHECKPOINT_SECONDS = 300.0


class Objective(Protocol):
    """What is minimised: how rows become a pack, and the pack's summed loss."""

    def collate(self, rows: Sequence[Encoded]) -> Pack:
        """Lay rows end to end."""
        ...

    def loss(self, model: PreTrainedModel, pack: Pack) -> Tensor:
        """Return the weighted sum of the losses, a scalar; the loop divides by the step's total weight."""
        ...


@dataclass
class Training:
    """What a run needs: the model as it is to be trained, the rows, the order, the settings and where to report."""

    model: PreTrainedModel
    objective: Objective
    rows: Sequence[Encoded]
    names: Sequence[str]
    heldout: Sequence[Encoded]
    steps: Sequence[StepRows]
    settings: Settings
    job: Job
    stopping: Callable[[], bool]
    tokens: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def run(self) -> float:
        """Train from the last checkpoint, or the start, to the end; return the last held-out loss (nan without rows).

        Raises ``Stopped`` behind a checkpoint when asked to stop, ``HonedError`` naming the rows of a step whose
        loss isn't a number.
        """
        optimizer = Optimizer(
            [(name, p) for name, p in self.model.named_parameters() if p.requires_grad],
            weight_decay=self.settings.weight_decay,
        )
        first = self._resume(optimizer)
        heldout_loss = self._evaluate(0) if first == 0 else math.nan
        saved = time.monotonic()
        for number in range(first, len(self.steps)):
            self._step(number, optimizer)
            done = number + 1
            if done % self.settings.eval_every == 0 or done == len(self.steps):
                heldout_loss = self._evaluate(done)
            if self._checkpoint_due(done, saved) or self.stopping():
                self._save(done, optimizer)
                saved = time.monotonic()
            if self.stopping() and done < len(self.steps):
                raise Stopped
        return heldout_loss

    def _step(self, number: int, optimizer: Optimizer) -> None:
        start = time.perf_counter()
        step = self.steps[number]
        packs = [self.objective.collate([self.rows[index] for index in pack]) for pack in step.packs]
        # One weight for the whole step: rows count by their tokens, however they are packed (transformers #34191).
        weight = sum(float(pack.weights.sum()) for pack in packs)
        self.model.train()
        loss = 0.0
        for pack in packs:
            part = self.objective.loss(self.model, pack.to(self.settings.device)) / weight
            part.backward()
            optimizer.accumulate()
            loss += part.item()
        if not math.isfinite(loss):
            self._not_finite(number, step)
        rate = learning_rate(
            number,
            len(self.steps),
            peak=self.settings.learning_rate,
            warmup=self.settings.warmup,
            schedule=self.settings.schedule,
        )
        norm = optimizer.step(rate, self.settings.clip_norm)
        seconds = time.perf_counter() - start
        tokens = sum(sum(pack.lengths) for pack in packs)
        self.tokens += tokens
        self.seconds += seconds
        values = {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "tokens_per_second": tokens / seconds}
        self.job.log.write(Step(stage="train", step=number + 1, total=len(self.steps), values=values))

    @torch.no_grad()
    def _evaluate(self, step: int) -> float:
        """Held-out loss in nats a supervised token: one sum over one weight, so batches play no part."""
        if not self.heldout:
            return math.nan
        self.model.eval()
        total = weight = 0.0
        for start in range(0, len(self.heldout), 8):
            pack = self.objective.collate(self.heldout[start : start + 8]).to(self.settings.device)
            total += float(self.objective.loss(self.model, pack))
            weight += float(pack.weights.sum())
        self.job.log.write(Metric(name="heldout_loss", value=total / weight, step=step))
        return total / weight

    def _resume(self, optimizer: Optimizer) -> int:
        saved = checkpoint.found(self.job.path / "checkpoints")
        if not saved:
            return 0
        step = checkpoint.load(saved[-1], optimizer)
        self.job.log.note(f"resumed after step {step} of {len(self.steps)}")
        return step

    def _checkpoint_due(self, done: int, saved: float) -> bool:
        every = self.settings.checkpoint_every
        return done % every == 0 if every else time.monotonic() - saved > CHECKPOINT_SECONDS

    def _save(self, done: int, optimizer: Optimizer) -> None:
        path = checkpoint.save(self.job.path / "checkpoints", done, optimizer, self.settings.keep_checkpoints)
        self.job.log.write(ArtifactMade(name="checkpoint", path=str(path)))

    def _not_finite(self, number: int, step: StepRows) -> None:
        rows = [self.names[index] for pack in step.packs for index in pack]
        listed = ", ".join(rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        raise HonedError(
            f"the loss of step {number + 1} is not a number; its rows: {listed}",
            f"Look at those rows, lower learning_rate (now {self.settings.learning_rate:g}), or use precision fp32.",
        )

"""The training loop, short enough to read aloud. Everything that isn't the loop is a named step elsewhere."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from honed.errors import HonedError
from honed.jobs.events import ArtifactMade, Metric, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.train import checkpoint
from honed.train.batches import StepRows
from honed.train.defaults import Settings
from honed.train.heldout import HeldOut
from honed.train.optim import Optimizer, learning_rate
from honed.train.prefixes import Example

CHECKPOINT_SECONDS = 300.0


class Batch(Protocol):
    """Examples that share one forward and backward pass."""

    @property
    def weight(self) -> float:
        """What they weigh in their step's mean: supervised tokens, or pairs."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: those of a shared prefix once."""
        ...

    def to(self, device: str) -> Self:
        """Return the batch on ``device``."""
        ...


E = TypeVar("E", bound=Example)
E_contra = TypeVar("E_contra", contravariant=True)
B = TypeVar("B", bound=Batch)


class Objective(Protocol[E_contra, B]):
    """What is minimised: how examples become a batch, and what the batch adds to its step."""

    def collate(self, examples: Sequence[E_contra], /) -> B:
        """Lay examples end to end."""
        ...

    def ready(self, model: PreTrainedModel, batches: Sequence[B], /) -> Sequence[B]:
        """Return a step's batches with what each has to know of the others, before any of them is computed."""
        ...

    def sums(self, model: PreTrainedModel, batch: B) -> Mapping[str, Tensor]:
        """Return ``loss``, and whatever else is worth seeing, as sums; the loop divides by the step's total weight."""
        ...


@dataclass
class Training(Generic[E, B]):
    """What a run needs: the model as it is to be trained, the examples, the order, the settings, where to report."""

    model: PreTrainedModel
    objective: Objective[E, B]
    examples: Sequence[E]
    names: Sequence[str]
    heldout: HeldOut
    steps: Sequence[StepRows]
    settings: Settings
    job: Job
    stopping: Callable[[], bool]
    tokens: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def run(self) -> float | None:
        """Train from the last checkpoint, or the start, to the end; return the last held-out loss (None without rows).

        Raises ``Stopped`` behind a checkpoint when asked to stop, ``HonedError`` naming the examples of a step whose
        loss isn't a number.
        """
        optimizer = Optimizer(
            [(name, p) for name, p in self.model.named_parameters() if p.requires_grad],
            weight_decay=self.settings.weight_decay,
        )
        first = self._resume(optimizer)
        heldout_loss = self._evaluate(first) if first in (0, len(self.steps)) else None
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
        batches = [self.objective.collate([self.examples[index] for index in pack]) for pack in step.packs]
        # One weight for the whole step: rows count by their tokens, however they are packed (transformers #34191).
        weight = sum(batch.weight for batch in batches)
        self.model.train()
        means: defaultdict[str, float] = defaultdict(float)
        for batch in self.objective.ready(self.model, batches):
            sums = self.objective.sums(self.model, batch.to(self.settings.device))
            (sums["loss"] / weight).backward()
            optimizer.accumulate()
            for name, value in sums.items():
                means[name] += (value.detach() / weight).item()
        if not math.isfinite(means["loss"]):
            self._not_finite(number, step)
        rate = learning_rate(
            number,
            len(self.steps),
            peak=self.settings.learning_rate,
            warmup=self.settings.warmup,
            schedule=self.settings.schedule,
        )
        norm = optimizer.step(rate, self.settings.clip_norm)
        if not math.isfinite(norm):
            self._not_finite(number, step, "gradient")
        seconds = time.perf_counter() - start
        # Every token of every row counts, shared or not: less work is more speed, not fewer tokens.
        tokens = sum(len(row.ids) for pack in step.packs for index in pack for row in self.examples[index].rows)
        self.tokens += tokens
        self.seconds += seconds
        values = {
            **means,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens_per_second": tokens / seconds,
            "computed_tokens": sum(batch.tokens for batch in batches),
        }
        self.job.log.write(Step(stage="train", step=number + 1, total=len(self.steps), values=values))

    def _evaluate(self, step: int) -> float | None:
        loss = self.heldout.loss(self.model)
        if loss is not None:
            self.job.log.write(Metric(name="heldout_loss", value=loss, step=step))
        return loss

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

    def _not_finite(self, number: int, step: StepRows, what: str = "loss") -> None:
        rows = [self.names[index] for pack in step.packs for index in pack]
        listed = ", ".join(rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        raise HonedError(
            f"the {what} of step {number + 1} is not a number; its rows: {listed}",
            f"Look at those rows, lower learning_rate (now {self.settings.learning_rate:g}), or use precision fp32.",
        )

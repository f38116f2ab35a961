"""The training loop: its steps, what is measured and kept between them, and how it ends where there is no number."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.errors import HonedError
from honed.jobs.events import ArtifactMade, Metric, Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.train import checkpoint
from honed.train.batches import Pack
from honed.train.deal import Turns
from honed.train.defaults import Settings
from honed.train.divergence import Watch
from honed.train.folder import CHECKPOINTS
from honed.train.heap import Holes
from honed.train.heldout import HeldOut
from honed.train.optim import Optimizer, learning_rate
from honed.train.placement import Placement
from honed.train.prefixes import Example
from honed.train.steps import Planned, Position, Steps, count

CHECKPOINT_SECONDS = 300.0
_SAVING = 0.05
"""The most of a run's time that goes into checkpoints, where nobody says how often they are written."""

NOT_FINITE = "not_finite.txt"
"""The rows, by their ids, whose loss or gradient was no number and ended the run; in the job's folder."""


class Batch(Protocol):
    """Examples that share one forward and backward pass."""

    @property
    def weight(self) -> float:
        """What they weigh in their step's mean: supervised tokens, or pairs."""
        ...

    @property
    def packs(self) -> Sequence[Pack]:
        """Sequences whose gradients are made, each by a forward pass of its own."""
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

    def ready(
        self, model: PreTrainedModel, batches: Sequence[B], weight: float | None = None, turns: Turns | None = None, /
    ) -> Sequence[B]:
        """Return a step's batches with what each has to know of the others, before any of them is computed.

        ``weight`` is that of the whole step, by which each loss will be divided before its gradients are made; None if
        that isn't certain. ``turns`` divides among the ranks what passes this takes; None: all of them are made here.
        """
        ...

    def sums(self, model: PreTrainedModel, batch: B) -> Mapping[str, Tensor]:
        """Return ``loss``, and whatever else is worth seeing, as sums; the loop divides by the step's total weight."""
        ...


@dataclass
class Training(Generic[E, B]):
    """What a run needs: the model on its ranks, the examples in their order, the settings, where to report.

    ``done`` steps are behind it, at ``position``; ``tokens`` and ``seconds`` are those of this attempt.

    ``stopping()`` says the same on every rank, and every rank calls it once a step.
    """

    placed: Placement
    objective: Objective[E, B]
    heldout: HeldOut
    steps: Steps[E]
    settings: Settings
    job: Job
    stopping: Callable[[], bool]
    watch: Watch = field(default_factory=Watch)
    done: int = field(default=0, init=False)
    position: Position = field(default_factory=dict, init=False)
    holes: Holes = field(default_factory=Holes, init=False)
    tokens: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    saving: float = field(default=0.0, init=False)
    """Seconds that the last checkpoint took."""
    proved: int = field(default=-1, init=False)
    """After how many steps the weights were those with which something finite was last computed."""
    best: tuple[int, float] | None = field(default=None, init=False)
    """With ``keep_best``: after which step the held-out loss was lowest, and how low."""

    def run(self) -> float | None:
        """Train from the last checkpoint, or the start, to the end; return the held-out loss (None without rows).

        It is that of the weights left in the model: the last ones, with ``average`` their mean, or with ``keep_best``
        the best of these. Raises ``Stopped`` behind a checkpoint when asked to stop, ``HonedError`` naming the examples
        of a step whose loss isn't a number.
        """
        optimizer = Optimizer(
            [(name, p) for name, p in self.placed.model.named_parameters() if p.requires_grad],
            weight_decay=self.settings.weight_decay,
            average=self.settings.average,
        )
        self._resume(optimizer)
        measured, heldout_loss = (0, self._evaluate()) if self.done == 0 else (None, None)
        if measured == 0:
            self.watch.begins(heldout_loss)
        saved = time.monotonic()
        begun = time.perf_counter()
        for step, batches in self._laid_out():
            self._step(step, batches, optimizer, begun)
            self.done, self.position = step.number, step.position
            if self.done % self.settings.eval_every == 0:
                measured, heldout_loss = self.done, self._measure(optimizer)
            stopping = self.stopping()
            if self._checkpoint_due(saved) or stopping:
                self._save(optimizer)
                saved = time.monotonic()
            if stopping and step.number < step.total:
                raise Stopped
            begun = time.perf_counter()
        if measured != self.done:
            heldout_loss = self._measure(optimizer)
        if self.best:
            return self._take_best(optimizer)
        optimizer.settle()
        return heldout_loss

    def _laid_out(self) -> Iterator[tuple[Planned[E], list[B]]]:
        """Yield each step with its batches; while a GPU computes one, those of the next are laid out."""

        def batches(step: Planned[E]) -> list[B]:
            return [self.objective.collate([step.examples[index] for index in pack]) for pack in step.rows.packs]

        steps = self.steps.after(self.done, self.position)
        if self.settings.device == "cpu":  # whose cores have enough to do
            yield from ((step, batches(step)) for step in steps)
            return
        with ThreadPoolExecutor(1) as beside:
            ahead: deque[tuple[Planned[E], Future[list[B]]]] = deque()
            for step in steps:
                ahead.append((step, beside.submit(batches, step)))
                if len(ahead) > 1:
                    before, laid = ahead.popleft()
                    yield before, laid.result()
            for step, laid in ahead:
                yield step, laid.result()

    def _step(self, step: Planned[E], batches: Sequence[B], optimizer: Optimizer, begun: float) -> None:
        # One weight for the whole step: rows count by their tokens, however they are packed (transformers #34191), and
        # whichever rank computes them.
        weight = sum(batch.weight for batch in batches)
        sums, bad = self._passes(step.number, batches, weight, optimizer)
        means = {name: value / weight for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            self._not_finite(step, bad)
        self.placed.add_up(optimizer.masters)
        rate = learning_rate(
            step.passed,
            step.whole,
            peak=self.settings.learning_rate,
            warmup=self.settings.warmup,
            schedule=self.settings.schedule,
        )
        norm = optimizer.step(rate, self.settings.clip_norm, self.placed.norm)
        if not math.isfinite(norm):
            self._not_finite(step, what="gradient")
        self._proved()
        self.holes.after_step()
        seconds = time.perf_counter() - begun
        # Every token of every row counts, shared or not: less work is more speed, not fewer tokens.
        tokens, _ = count([step.rows], step.examples)
        self.tokens += tokens
        self.seconds += seconds
        values = {
            **means,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens_per_second": tokens / seconds,
            "computed_tokens": sum(batch.tokens for batch in batches),
        }
        self.job.log.write(Step(stage="train", step=step.number, total=step.total, values=values))
        self._note_divergence(step.number, means["loss"])

    def _passes(
        self, number: int, batches: Sequence[B], weight: float, optimizer: Optimizer
    ) -> tuple[dict[str, float], list[int]]:
        """Compute this rank's passes of a step, gradients included.

        Return the sums of all ranks, and the passes of this one whose loss isn't a number.
        """
        self.placed.model.train()
        seen: dict[int, dict[str, Tensor]] = {}
        turns = self.placed.turns([batch.tokens for batch in batches])
        certain = weight if all(turn.counts for turn in turns) else None

        def made_ready(model: PreTrainedModel, some: Sequence[B]) -> Sequence[B]:
            return self.objective.ready(model, some, certain, self.placed.turns)

        ready = self.placed.run(made_ready, batches)
        for turn in turns:
            # A pass draws the same (dropout, noise) whoever computes it, and after a resume too.
            torch.manual_seed(pass_seed(self.settings.seed, number, turn.index))
            batch = ready[turn.index].to(self.settings.device)
            sums = self.placed.run(self.objective.sums, batch)
            (sums["loss"] / (weight if turn.counts else math.inf)).backward()
            optimizer.accumulate()
            if turn.counts:
                seen[turn.index] = {name: value.detach() for name, value in sums.items()}
        mine: defaultdict[str, float] = defaultdict(float)
        bad = []
        for index, sums in seen.items():
            for name, value in sums.items():
                mine[name] += value.item()
            if not math.isfinite(sums["loss"].item()):
                bad.append(index)
        return self.placed.ranks.total(mine), bad

    def _measure(self, optimizer: Optimizer) -> float | None:
        """The held-out loss now; its weights are kept if it is the lowest so far, and that was asked for."""
        with optimizer.averaged():
            loss = self._evaluate()
            if self.settings.keep_best and loss is not None and (self.best is None or loss < self.best[1]):
                checkpoint.save_best(self._folder, self.done, optimizer, loss, self.placed.ranks)
                self.best = (self.done, loss)
        return loss

    def _evaluate(self) -> float | None:
        loss = self.heldout.loss(self.placed)
        if loss is not None and not math.isfinite(loss):
            self._disproved()
            what, hint = "is not a number: the weights aren't fit for use", self._mend()
            if self.done == 0:
                fp32 = "" if self.settings.precision == "fp32" else ", or use precision fp32"
                what, hint = f"before the first step {what}", f"Look at the base model's weights{fp32}."
            else:
                what = f"after step {self.done} {what}"
            raise HonedError(f"the held-out loss {what}", hint)
        if loss is not None:
            if not self.settings.average:  # a mean may be finite where the weights, which are saved, aren't
                self._proved()
            self.job.log.write(Metric(name="heldout_loss", value=loss, step=self.done))
        return loss

    def _note_divergence(self, step: int, loss: float) -> None:
        if found := self.watch.seen(step, loss):
            rate = self.settings.learning_rate
            self.job.log.note(f"diverged at step {step}: {found.why}; lower learning_rate (now {rate:g})")

    def _take_best(self, optimizer: Optimizer) -> float:
        """Put the best weights back and return their held-out loss."""
        assert self.best, "saved by _measure"
        step, loss = self.best
        checkpoint.load_best(checkpoint.best_after(self._folder, step), optimizer)
        if step < self.done:
            self.job.log.note(
                f"the weights after step {step} are kept: their held-out loss, {loss:.4f}, was the lowest"
            )
        return loss

    def _resume(self, optimizer: Optimizer) -> None:
        saved = checkpoint.found(self._folder)
        name = self.placed.ranks.agreed(saved[-1].name if saved else "")  # a shared disk may show one rank more
        if not name:  # the best of an attempt that left no more had other settings, maybe
            if self.placed.ranks.first:
                checkpoint.drop_best(self._folder)
            return
        path = checkpoint.best(self._folder) if self.settings.keep_best and self.placed.ranks.first else None
        if facts := self.placed.ranks.agreed(checkpoint.facts(path) if path else {}):  # as above
            self.best = (facts["step"], facts["heldout_loss"])
        said = checkpoint.load(self._folder / name, optimizer)
        self.done, self.position = said["step"], said["position"]
        self.watch.replay(self.job.events(), self.done)
        self.job.log.note(f"resumed after step {self.done}")

    def _checkpoint_due(self, saved: float) -> bool:
        """Whether it is time to save; clocks differ, so any rank's will do."""
        every = self.settings.checkpoint_every
        if every:
            return self.done % every == 0
        return self.placed.ranks.any(time.monotonic() - saved > between(self.saving))

    def _save(self, optimizer: Optimizer) -> None:
        before = time.monotonic()
        path = checkpoint.save(self._folder, self.done, optimizer, self.position, self.placed.ranks)
        self.saving = time.monotonic() - before
        self.job.log.write(ArtifactMade(name="checkpoint", path=str(path)))
        if self.proved == self.done:  # by their held-out loss, before they were saved
            self._proved()

    def _proved(self) -> None:
        """What was computed with the weights after ``done`` steps is finite: older checkpoints may go."""
        self.proved = self.done
        if self.placed.ranks.first:
            checkpoint.prove(self._folder, self.done, self.settings.keep_checkpoints)

    def _disproved(self) -> None:
        """The weights after ``done`` steps gave no number: a checkpoint of theirs goes, a resume has an older one."""
        if self.placed.ranks.first and checkpoint.disprove(self._folder, self.done):
            kept = checkpoint.found(self._folder)
            then = f"goes on after step {checkpoint.facts(kept[-1])['step']}" if kept else "begins anew"
            self.job.log.note(f"the checkpoint of step {self.done} is dropped: no number came of it; a resume {then}")

    @property
    def _folder(self) -> Path:
        return self.job.path / CHECKPOINTS

    def _not_finite(self, step: Planned[E], passes: Sequence[int] = (), what: str = "loss") -> None:
        """Stop, naming the rows of the passes whose loss is no number, on any rank; or all of the step."""
        packs = sorted({index for some in self.placed.ranks.exchange(list(passes)) for index in some})
        named = [step.names[index] for one in packs for index in step.rows.packs[one]]
        rows = named or step.row_names
        self._disproved()  # first: whatever comes of the list, a resume must not begin with these weights
        path = self.job.path / NOT_FINITE
        if self.placed.ranks.first:
            with suppress(OSError):  # a full disk is the lesser fault
                path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        where = f" (all in {path})" if path.exists() else ""
        listed = ", ".join(rows[:8]) + (f" and {len(rows) - 8} more{where}" if len(rows) > 8 else "")
        raise HonedError(
            f"the {what} of step {step.number} is not a number; its rows: {listed}",
            f"Look at those rows. {self._mend()}",
        )

    def _mend(self) -> str:
        """What to do about steps after which there is no number."""
        path, rate = self.job.path / "config.yaml", self.settings.learning_rate
        lower = f"Write a lower learning_rate (now {rate:g}) into {path}, then: honed jobs resume {self.job.id}"
        if self.settings.precision == "fp32":
            return lower
        return f"{lower} (or train anew in fp32: honed train {path} --set train.precision=fp32)"


def between(saving: float) -> float:
    """Return the seconds from one checkpoint to the next, where each takes ``saving`` seconds."""
    return max(CHECKPOINT_SECONDS, saving / _SAVING)


def pass_seed(seed: int, step: int, number: int) -> int:
    """Return what pass ``number`` of a step draws from: the same for any number of ranks, and after a resume."""
    return int(np.random.SeedSequence([seed, step, number]).generate_state(1, np.uint64)[0])

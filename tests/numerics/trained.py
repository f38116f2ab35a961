"""Three steps on rows of very unequal length, on however many ranks there are; run by ``test_ranks.py``.

As a program (``python -m tests.numerics.trained FOLDER``, with torchrun's environment) it is one rank of several, and
does all cases in one process group, so that torch is loaded only once a rank.
"""

from __future__ import annotations

import errno
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from honed.errors import HonedError
from honed.jobs.job import Job
from honed.models import load as models
from honed.train import adapters, attempts, checkpoint, neftune, placement, ranks
from honed.train.answers import AnswerPack
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.head import MATRIX
from honed.train.heldout import HeldOut
from honed.train.kernels import choice
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.loop import Training
from honed.train.lora_config import LoraConfig
from honed.train.objectives.kto import Kto
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer, keep_wide
from honed.train.placement import Placement, Replicated, Sharded
from honed.train.quantise import quantise
from honed.train.ranks import Ranks
from honed.train.reference import Reference
from honed.train.rows import Rows
from honed.train.steps import InMemory
from tests.numerics.adapted import stir
from tests.numerics.compared import answered, made, rated
from tests.numerics.rows import packed_model, skewed, uneven

# One long pass beside ten short ones, of which two ranks get more than 10 : 1 supervised tokens (``rows.skewed``); a
# single pass for all ranks; and as many as there are ranks.
STEPS = [
    StepRows(0, ((0, 1, 2, 3, 4, 5), *((number,) for number in range(6, 16)))),
    StepRows(0, ((16, 17),)),
    StepRows(1, ((18, 19, 20), (21, 22))),
]
# Whoever compares no gradients across ranks needs several passes in the first step, and not eleven.
LONGER = [
    StepRows(0, ((0,), (6,), (7, 8))),
    *STEPS[1:],
    StepRows(1, ((0, 1), (2,), (3, 4))),
    StepRows(1, ((5, 6), (7,))),
]


@dataclass(frozen=True)
class Case:
    """What is trained, and how it lies on the ranks. ``resumes``: the first two steps are those of one process."""

    shard: str = "none"
    weights: str = "full"
    dropout: float = 0.0
    dtype: torch.dtype = torch.float32
    offload: bool = False
    recompute: bool = False
    dora: bool = False
    objective: str = "sft"
    weighted: bool = False
    neftune: bool = False
    qlora: bool = False
    resumes: bool = False
    average: bool = False
    best: bool = True


CASES = {
    "replicated": Case(),
    "replicated-lora": Case(weights="lora"),
    "replicated-lora-dropout": Case(weights="lora", dropout=0.1),
    "replicated-bf16": Case(dtype=torch.bfloat16),
    "replicated-kto": Case(objective="kto"),
    "replicated-dpo": Case(objective="dpo"),
    "replicated-weighted": Case(weighted=True),
    "replicated-average": Case(average=True, best=False),
    "replicated-recompute": Case(recompute=True),
    "replicated-lora-dropout-recompute": Case(weights="lora", dropout=0.1, recompute=True),
    "replicated-resumes-one": Case(resumes=True),
    "replicated-lora-dropout-resumes-one": Case(weights="lora", dropout=0.1, resumes=True),
    "fsdp": Case(shard="fsdp"),
    "fsdp-lora": Case(shard="fsdp", weights="lora"),
    "fsdp-lora-dropout": Case(shard="fsdp", weights="lora", dropout=0.1),
    "fsdp-bf16": Case(shard="fsdp", dtype=torch.bfloat16),
    "fsdp-lora-bf16": Case(shard="fsdp", weights="lora", dtype=torch.bfloat16),
    "fsdp-dora": Case(shard="fsdp", weights="lora", dora=True),
    "fsdp-dora-bf16": Case(shard="fsdp", weights="lora", dtype=torch.bfloat16, dora=True),
    "fsdp-kto": Case(shard="fsdp", objective="kto"),
    "fsdp-orpo": Case(shard="fsdp", objective="orpo"),
    "fsdp-average": Case(shard="fsdp", average=True, best=False),
    "fsdp-offload": Case(shard="fsdp", offload=True),
    "fsdp-recompute": Case(shard="fsdp", recompute=True),
    "fsdp-resumes-one": Case(shard="fsdp", resumes=True),
    "fsdp-average-resumes-one": Case(shard="fsdp", average=True, best=False, resumes=True),
    "fsdp-lora-bf16-resumes-one": Case(shard="fsdp", weights="lora", dtype=torch.bfloat16, resumes=True),
}

RESUMED = {
    "replicated-lora-dropout": Case(weights="lora", dropout=0.1),
    "replicated-neftune": Case(neftune=True),
    "fsdp-lora-dropout": Case(shard="fsdp", weights="lora", dropout=0.1),
    "fsdp-bf16": Case(shard="fsdp", dtype=torch.bfloat16),
    "fsdp-average": Case(shard="fsdp", average=True),
}
"""What two ranks resume, to the bit."""


def placed(case: Case, here: Ranks) -> Placement:
    """The tiny model as the case wants it."""
    model = packed_model().to(case.dtype)
    if case.qlora:
        quantise(model, "cpu")
    install(model, compiled=choice.choose(case.dtype, "cpu")[0])
    if case.recompute:
        checkpoint_layers(model)
    if case.weights == "lora":
        adapters.add(model, LoraConfig(rank=4, alpha=8.0, dropout=case.dropout, dora=case.dora), seed=0)
        stir(model)  # B = 0 would give A no gradient
    if case.neftune:
        neftune.add(model, 5.0)
    if case.shard == "none":
        return Replicated(model, here)
    return Sharded(model, here, device="cpu", compute=case.dtype, cpu_offload=case.offload)


def examples(case: Case) -> list[Any]:
    """What it learns from: 23 rows, or as many answers."""
    if case.objective != "sft":
        return rated(23) if case.objective == "kto" else answered(23)
    rows = [*skewed(), *uneven(7)]
    if not case.weighted:
        return rows
    return [replace(row, weights=tuple((0.25, 1.0, 3.0)[n % 3] * w for w in row.weights)) for n, row in enumerate(rows)]


def held_out() -> HeldOut:
    """Rows that aren't trained on, in several passes."""
    return HeldOut(uneven(3, seed=5), Sft(MATRIX), packed=True, device="cpu", pack_tokens=60)


def train(case: Case, folder: Path, here: Ranks, *, steps: Sequence[StepRows] = STEPS, **given: Any) -> None:
    """Write the first step's gradients, checkpoints of every second, and on rank 0 the losses and the last weights.

    Of KTO also how many passes over mismatched answers this rank made.
    """
    where = placed(case, here)
    usual = {"learning_rate": 1e-3, "warmup": 0.0, "schedule": "constant", "checkpoint_every": 2}
    config = TrainConfig(base="", data="", **{**usual, "average": case.average, "keep_best": case.best, **given})
    settings = resolve(config, Facts(1, 1, 1, 0, "cpu", "fp32", ""))
    folder.mkdir(exist_ok=True)
    job = Job(folder, rank=here.number)
    heldout = held_out()
    names = tuple(str(number) for number in range(23))
    objective = Sft(MATRIX, share=not case.neftune) if case.objective == "sft" else made(case.objective)
    run = InMemory(Rows(tuple(examples(case)), names, ()), steps)
    training = Training(where, objective, heldout, run, settings, job, lambda: False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimizer, "step", _showing_gradients(folder, here))
        mismatched: list[AnswerPack] = []
        patch.setattr(Kto, "_gained", _noting_mismatched(mismatched))
        loss = training.run()
    (folder / f"mismatched-{here.number}.txt").write_text(str(len(mismatched)))
    where.gather()
    if here.first:
        whole = {name: parameter.detach().contiguous() for name, parameter in where.model.named_parameters()}
        save_file({**whole, "heldout_loss": torch.tensor(loss, dtype=torch.float64)}, folder / "trained.safetensors")


class Killed(BaseException):
    """What a kill looks like from within: nothing is tidied up by whoever catches errors."""


def kill_at(step: int, case: Case, folder: Path, here: Ranks, **given: Any) -> None:
    """Train ``LONGER``, and be killed with the gradients of ``step`` at hand; steps 3 to 5 are those of epoch 2."""
    take, taken = Optimizer.step, []

    def killed(self: Optimizer, *args: Any) -> float:
        taken.append(self)
        if len(taken) == step:
            raise Killed
        return take(self, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Optimizer, "step", killed)
        train(case, folder, here, steps=LONGER, **given)


def resumed(case: Case, folder: Path, here: Ranks, **given: Any) -> None:
    """One run that is never stopped, and one that is killed in epoch 2 and goes on with all its objects made anew."""
    folder.mkdir(exist_ok=True)
    train(case, folder / "straight", here, steps=LONGER, **given)
    kill_at(4, case, folder / "killed", here, **given)
    train(case, folder / "killed", here, steps=LONGER, **given)


def late_to_see(folder: Path, here: Ranks) -> None:
    """``resumed`` where rank 1 sees no best weights, as on a shared disk; at this rate later ones aren't better."""
    with pytest.MonkeyPatch.context() as patch:
        if not here.first:
            patch.setattr(checkpoint, "best", lambda _: None)
        resumed(RESUMED["fsdp-bf16"], folder, here, eval_every=1, learning_rate=1.0)


def _showing_gradients(folder: Path, here: Ranks) -> Callable[..., float]:
    """``Optimizer.step``, which first writes this rank's gradients if nobody has yet."""
    step, path = Optimizer.step, folder / f"gradients-{here.number}.safetensors"

    def shown(self: Optimizer, *args: Any) -> float:
        if not path.exists():
            pairs = zip(self.names, self.masters, strict=True)
            save_file({name: master.grad for name, master in pairs if master.grad is not None}, path)
        return step(self, *args)

    return shown


def _noting_mismatched(seen: list[AnswerPack]) -> Callable[..., Tensor]:
    """``Kto._gained``, which adds to ``seen`` what it is asked without a gradient."""
    usual = Kto._gained

    def noting(self: Kto, model: Any, batch: AnswerPack) -> Tensor:
        if not torch.is_grad_enabled():
            seen.append(batch)
        return usual(self, model, batch)

    return noting


def unused(here: Ranks) -> dict[str, Tensor]:
    """Gradients of parameters that all ranks, one rank or no rank used, in buckets smaller than one of them."""
    everywhere, here_only, nowhere = torch.zeros(40), torch.zeros(3), torch.zeros(2)
    everywhere.grad = torch.full((40,), 1.0 + here.number)
    if here.number == 1:
        here_only.grad = torch.full((3,), 5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "BUCKET_BYTES", 64)
        Replicated(packed_model(), here).add_up([everywhere, here_only, nowhere])
    assert everywhere.grad is not None and here_only.grad is not None and nowhere.grad is None
    return {"everywhere": everywhere.grad, "here_only": here_only.grad}


def words(here: Ranks) -> None:
    """What ranks say to one another arrives whole."""
    assert here.exchange({"rank": here.number, "long": "x" * (1 + 5000 * here.number)})[1]["long"] == "x" * 5001
    assert here.total({"both": 0.5} if here.first else {"both": 0.25, "one": 1.0}) == {"both": 0.75, "one": 1.0}
    assert here.any(here.number == 1) and not here.any(False)
    assert here.agreed(f"rank {here.number}") == "rank 0"
    with pytest.raises(HonedError, match="the fault of rank 1"):
        here.together(lambda: _fault() if here.number == 1 else None)


def _fault() -> None:
    raise HonedError("the fault of rank 1")


def stored_masters(here: Ranks) -> None:
    """Shares of a model that computes in 16 bits begin at the weights as they were stored, not as they were rounded."""
    model, stored = packed_model().to(torch.bfloat16), packed_model()
    keep_wide(model, stored)
    where = Sharded(model, here, device="cpu", compute=torch.bfloat16, cpu_offload=False)
    optimizer = Optimizer(list(where.model.named_parameters()), weight_decay=0.0)
    whole = dict(stored.named_parameters())
    for name, master in zip(optimizer.names, optimizer.masters, strict=True):
        assert torch.equal(master, whole[name].detach()[optimizer.rows[name]]), name


def kept_whole(folder: Path, here: Ranks) -> None:
    """Write the bytes that each weight of a sharded model takes on this rank while the next ones are gathered."""
    where, sizes = placed(CASES["fsdp"], here), []

    def parameter(tensor: Tensor, **how: Any) -> torch.nn.Parameter:
        sizes.append(tensor.untyped_storage().nbytes())
        return torch.nn.Parameter(tensor, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "nn", SimpleNamespace(Parameter=parameter))
        where.gather()
    (folder / f"kept-{here.number}.json").write_text(json.dumps(sizes))


def full_disk(folder: Path, here: Ranks) -> None:
    """Rank 1's disk is full at the second checkpoint: every rank is told, and the first one is still there."""
    where = placed(CASES["fsdp"], here)
    optimizer = Optimizer(list(where.model.named_parameters()), weight_decay=0.0)
    checkpoint.save(folder, 1, optimizer, ranks=here)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        if here.number == 1:
            patch.setattr(checkpoint, "_save_tensors", full)
        with pytest.raises(HonedError, match="no space left"):
            checkpoint.save(folder, 2, optimizer, ranks=here)
    assert [path.name for path in folder.iterdir()] == ["step-00000001"]
    assert checkpoint.load(folder / "step-00000001", optimizer)["step"] == 1


def not_a_number(case: Case, folder: Path, here: Ranks) -> None:
    """The pass of row 2 alone, in step 4, has no number for a loss: every rank stops, whichever computes it."""
    usual, row = Sft.sums, skewed()[2]

    def sums(self: Sft, model: Any, batch: Any) -> dict[str, Tensor]:
        found = usual(self, model, batch)
        return {"loss": found["loss"] + (float("nan") if batch.ids[0].tolist() == list(row.ids) else 0.0)}

    with pytest.MonkeyPatch.context() as patch, pytest.raises(HonedError, match=r"loss of step 4 .*; its rows: 2"):
        patch.setattr(Sft, "sums", sums)
        train(case, folder, here, steps=LONGER, checkpoint_every=1, eval_every=5)


def references(folder: Path, where: Placement) -> None:
    """The base model's log-likelihoods of pairs, in the cache of the workspace ``folder``."""
    pairs = [replace(pair, reference=(0.0, 0.0)) for pair in answered(7)]
    reference = Reference("base", "fp32", "cpu", packed=True, shared=True, head=MATRIX, pack_tokens=100)
    job = Job(folder / "jobs" / "one", rank=where.ranks.number)
    job.path.mkdir(parents=True, exist_ok=True)
    first, again = (reference.attach(where, pairs, ["a pair"] * len(pairs), job, lambda: False) for _ in range(2))
    assert first == again and all(pair.reference != (0.0, 0.0) for pair in first)


def other_base(folder: Path, here: Ranks) -> None:
    """A base of the same name with other weights on the machine of rank 1: no rank trains it."""
    job = Job(folder, rank=here.number)
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for hashes, fault in (("aa", nullcontext()), ("ab", pytest.raises(HonedError, match=r"rank 1 on .* hash b"))):
            place = SimpleNamespace(weights_hash=hashes[here.number] * 64)
            patch.setattr(models, "locate", lambda *_, place=place: place)
            with fault:
                attempts.check_base(job, "org/name", here)
            here.exchange(None)  # both have looked


def main(folder: Path) -> None:
    """All cases, as one rank."""
    warnings.simplefilter("error")
    with ranks.joined("cpu") as here:
        words(here)
        for name, case in CASES.items():
            train(case, folder / name, here)
        for name, case in RESUMED.items():
            resumed(case, folder / f"resumed-{name}", here)
        late_to_see(folder / "late-to-see", here)
        save_file(unused(here), folder / f"unused-{here.number}.safetensors")
        stored_masters(here)
        kept_whole(folder, here)
        full_disk(folder / "full", here)
        for name in ("replicated", "fsdp"):
            not_a_number(CASES[name], folder / f"not-a-number-{name}", here)
        other_base(folder / "other-base", here)
        references(folder / "references-replicated", placed(Case(), here))
        references(folder / "references-fsdp", placed(Case(shard="fsdp"), here))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    ranks.leave(0)

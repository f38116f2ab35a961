"""From what was prepared to what is run: the model on its ranks, the objective, the steps. A plan sets up the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from honed.models.positions import apart_beyond
from honed.train import adapters, attention, checkpoint, folder, neftune, noise, notes
from honed.train.attempts import chosen, remember
from honed.train.folder import Disk
from honed.train.heldout import HeldOut
from honed.train.kernels import choice
from honed.train.kernels.install import Installed, by, checkpoint_layers, install
from honed.train.layout import Layout, choose
from honed.train.loop import Objective
from honed.train.objectives.kinds import KINDS
from honed.train.objectives.sft import Sft
from honed.train.objectives.table import OBJECTIVES
from honed.train.placement import Placement, Replicated, Sharded
from honed.train.prepare import DTYPES, Prepared
from honed.train.quantise import Nf4Linear
from honed.train.ranks import Ranks
from honed.train.reference import Reference
from honed.train.rows import Rows, left_out_list, note_unmeasured
from honed.train.source import Stream
from honed.train.steps import InMemory, Steps
from honed.train.stream import Streamed


@dataclass(frozen=True)
class Setup:
    """Everything that is run. ``adapted`` names the layers with adapters, ``trainable`` counts the trained weights.

    ``referred``: the base model's likelihoods that the objective needs are there.
    """

    placed: Placement
    objective: Objective[Any, Any]
    heldout: HeldOut
    steps: Steps[Any]
    layout: Layout
    kernels: Installed
    adapted: list[str]
    trainable: int
    reasons: tuple[str, ...]
    referred: bool
    disk: Disk


def set_up(run: Prepared, here: Ranks, stopping: Callable[[], bool], *, to_train: bool = True) -> Setup:
    """Make the model what the settings ask for and plan the steps.

    What is to train says its reasons first, and computes the base model's likelihoods where the objective needs them; a
    plan only looks whether they are there. Raises ``Stopped`` when asked to stop meanwhile.
    """
    model, config, settings = run.base.model, run.config, run.settings
    compiled, why_torch = _compiled(run, here)
    dropout = run.adapters.dropout if run.adapters else 0.0
    of_noise = (*noise.turn_off(model, config.objective), *noise.of_adapters(dropout, config.objective))
    kernels = install(model, compiled=compiled)
    if config.activation_checkpointing:
        checkpoint_layers(model)
    sample = run.train.sample if isinstance(run.train, Stream) else run.train
    layout = _agreed(run, choose(model, sample.encoded, config, settings, _one_pass(run, here), here), here)
    layout = replace(layout, head=replace(layout.head, compiled=compiled))
    if here.first:  # so that other ranks resume these passes; those of one a step are made from settings
        passes = settings if layout.one_pass else layout.settings
        remember(run.job, one_pass=layout.one_pass, pack_tokens=passes.pack_tokens)
    pass_tokens = layout.settings.pack_tokens  # the same in every attempt, unlike what the settings say of it
    resumed = here.agreed(bool(checkpoint.found(run.job.path / folder.CHECKPOINTS)))
    idle = notes.of_ranks(layout, max(here.size, config.ranks), resumed=resumed)
    of_run = (*notes.of_data(run), *of_noise, *notes.of_model(run))
    reasons = (*settings.reasons, *why_torch, *layout.reasons, *of_run, *idle)
    first = to_train and not resumed
    for reason in reasons if first else idle if to_train else ():
        run.job.log.note(reason)
    if first:
        note_unmeasured(run.job, run.heldout)
    entry = OBJECTIVES[config.objective]
    train, referred, refers = run.train, False, KINDS[config.objective].refers
    refer = partial(_referred, run, layout, kernels, stopping if to_train else None)
    if refers and config.shard == "none":  # before adapters are added: the model is still the base
        train, referred = refer(Replicated(model, here))
    adapted = adapters.add(model, run.adapters, seed=config.seed) if run.adapters else []
    if config.neftune_alpha:
        neftune.add(model, config.neftune_alpha)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    disk = _disk(run, trainable)  # of the types that are published: shares are fp32
    placed = _placed(run, here)
    if refers and config.shard != "none":  # only in shares it fits; fresh adapters change nothing
        train, referred = refer(placed)
    given = KINDS[config.objective].settings(config.preference)
    if first:
        here.together(lambda: folder.check(run.job, disk) if here.first else None)
    return Setup(
        placed=placed,
        objective=entry.make(given, layout.head, layout.packed, layout.shared, apart_beyond(model.config)),
        heldout=HeldOut(
            run.heldout.encoded, Sft(layout.head, layout.shared), layout.packed, settings.device, pass_tokens
        ),
        steps=_steps(run, train, layout),
        layout=layout,
        kernels=kernels,
        adapted=adapted,
        trainable=trainable,
        reasons=reasons,
        referred=referred,
        disk=disk,
    )


def _disk(run: Prepared, trainable: int) -> Disk:
    """What the run will write: 4-bit weights are published as what their codes stand for."""
    model, settings = run.base.model, run.settings
    packed = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, Nf4Linear))
    return folder.disk(
        run.job.path,
        model=sum(p.nbytes for p in model.parameters()) + packed * model.dtype.itemsize,
        trained=trainable,
        keep=settings.keep_checkpoints,
        best=settings.keep_best,
        average=settings.average,
    )


def _compiled(run: Prepared, here: Ranks) -> tuple[bool, tuple[str, ...]]:
    """Whether norms, SwiGLU and the like are computed by kernels of ours, as in the first attempt, and what to say.

    They and torch round differently.
    """
    first = here.agreed(chosen(run.job).get("elementwise"))
    wanted = _to_compile(run) if first is None else first != "torch"
    can, why = _can_be_compiled(run) if wanted else (False, "")
    can = all(here.exchange(can))
    if first is None and here.first:
        remember(run.job, elementwise=by(run.settings.device) if can else "torch")
    if first == "torch" and _to_compile(run):
        why = "norms and SwiGLU by torch, as in the first attempt"
    elif first and wanted and not can:
        run.job.log.note(
            "norms and SwiGLU by torch: the kernels of the first attempt aren't to be had here; "
            "the weights will equal those of an uninterrupted run up to rounding, not to the bit"
        )
    return can, (why,) if why else ()


def _to_compile(run: Prepared) -> bool:
    """Whether kernels are wanted: C is compiled once on a machine; on a GPU no run has shown yet what they save."""
    return run.settings.device == "cpu" if run.config.compile is None else run.config.compile


def _can_be_compiled(run: Prepared) -> tuple[bool, str]:
    """As ``choice.choose``; who asked for kernels is told why there are none."""
    model, device = run.base.model, run.settings.device
    if model.device.type != device:  # whole on the host, to be cut up: ours would be compared there, and not here
        return False, "norms and SwiGLU by torch: compile isn't for fsdp on a GPU"
    can, why = choice.choose(model.dtype, device, choice.ODD if device == "cpu" else choice.Sizes.of(model))
    if run.config.compile and not can and not why:
        why = f"norms and SwiGLU by torch: there are no kernels to compile for {device} in {run.settings.precision}"
    return can, why


def _one_pass(run: Prepared, here: Ranks) -> bool | None:
    """Whether each step is one pass, as in the first attempt; None if that is to be found out.

    A stream has steps that nobody saw.
    """
    first: bool | None = here.agreed(chosen(run.job).get("one_pass"))
    return False if isinstance(run.train, Stream) else first


def _agreed(run: Prepared, layout: Layout, here: Ranks) -> Layout:
    """The layout, with the attention path that rank 0 chose in the first attempt: another one rounds differently.

    Where that one isn't to be had any more, this is said, and rank 0's choice of now is taken. A model that has
    attention of its own has no other.
    """
    if not attention.ours(layout.attention):
        return layout
    now, first = here.agreed((layout.attention, chosen(run.job).get("attention")))
    if not all(here.exchange(now in attention.known())):  # another machine has no compiler, say
        now = attention.FUSED if run.settings.device == "cpu" else attention.PARTS
    path, reasons = now, layout.reasons
    if first is None:
        if here.first:
            remember(run.job, attention=now)
    elif first != now and all(here.exchange(first in attention.known())):
        path, reasons = first, (*reasons, f"attention by {attention.short(first)}, as in the first attempt")
    elif first != now:
        run.job.log.note(
            f"attention by {attention.short(now)}: that of the first attempt, {attention.short(first)}, isn't to be "
            "had here; the weights will equal those of an uninterrupted run up to rounding, not to the bit"
        )
    if path != layout.attention:
        run.base.model.set_attn_implementation(path)
    return replace(layout, attention=path, reasons=reasons)


def _referred(
    run: Prepared, layout: Layout, kernels: Installed, stopping: Callable[[], bool] | None, placed: Placement
) -> tuple[Rows[Any], bool]:
    """The examples with what the base model makes of them, and that it is there.

    Of a plan, which ``stopping`` isn't passed for: the examples as they are, and whether an earlier run left it.
    """
    settings, train = run.settings, run.train
    assert isinstance(train, Rows), "source.py streams no objective that needs a reference"
    reference = Reference(
        f"{run.base.hash}-nf4 by {version('bitsandbytes')}" if settings.weights == "qlora" else run.base.hash,
        settings.precision,
        settings.device,
        packed=layout.packed,
        shared=layout.shared,
        head=layout.head,
        pack_tokens=layout.settings.pack_tokens,
        kernels=kernels.describe(),
        within=apart_beyond(run.base.model.config),
    )
    first = [step for step in layout.steps if step.epoch == layout.steps[0].epoch]
    packs = None if settings.precision == "fp32" else [pack for step in first for pack in step.packs]
    if stopping is None:
        return train, reference.kept(placed.model, train.encoded, run.job.workspace, packs)[1] is not None
    return replace(train, encoded=reference.attach(placed, train.encoded, train.names, run.job, stopping, packs)), True


def _placed(run: Prepared, here: Ranks) -> Placement:
    """The model as the settings want it on the ranks."""
    config, settings = run.config, run.settings
    if config.shard == "none":
        return Replicated(run.base.model, here)
    compute = DTYPES[settings.precision]
    return Sharded(run.base.model, here, device=settings.device, compute=compute, cpu_offload=config.cpu_offload)


def _steps(run: Prepared, train: Rows[Any] | Stream[Any], layout: Layout) -> Steps[Any]:
    """The order of the run, the same on every rank; rank 0 lists what a stream can't use."""
    if isinstance(train, Rows):
        return InMemory(train, layout.steps)
    return Streamed(
        shards=train.shards,
        read=train.read,
        plan=layout.plan,
        epochs=run.settings.epochs,
        seed=run.config.seed,
        window_rows=train.window_rows(run.config.stream_rows, run.settings.batch_tokens),
        listing=left_out_list(run.job),
    )

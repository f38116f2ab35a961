"""How a run's rows lie in its passes: packed or alone, common prefixes once or each by itself, and in which steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from transformers import PreTrainedModel

from honed.models.chat import Encoded
from honed.models.positions import apart_beyond
from honed.train import (
    attention,
    attention_cuda,
    attention_native,
    batches,
    footprint,
    likelihood,
    noise,
    own_attention,
    prefixes,
)
from honed.train.attention import FUSED, PARTS, Segments
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Settings
from honed.train.head import Head, find
from honed.train.prefixes import Example, Prefixes
from honed.train.ranks import ALONE, Ranks

_WORTH = 0.01
"""Sharing must save this part of the tokens: for less, passes that are filled better are worth more."""

_IN_ONE = 2
"""A step of so many times ``pack_tokens`` at most is one pass: see ``_may_be_one_pass``."""

_PROBED = 64
"""Tokens of a row that show how a model treats rows: the plain path holds the scores of all that it is given."""


@dataclass(frozen=True)
class Layout:
    """The way a run's examples go through the model, and the steps of those that it was chosen by: all, or a sample.

    ``head``: how the model makes logits; ``packed``: rows share a pass; ``shared``: and in it, common prefixes;
    ``one_pass``: passes may be larger than ``pack_tokens`` asks for, so that a step is one.
    ``attention`` is the path's name; in ``by_plain[0]`` of ``by_plain[1]`` layers plain torch stands in for it (a CPU's
    kernels take no caps, no sinks, and no rows beyond a window; a GPU's no sinks). ``settings.pack_tokens`` is what
    rows were laid out by. ``reasons`` says why what was asked for isn't done, and what it is worth.
    """

    head: Head
    packed: bool
    shared: bool
    one_pass: bool
    attention: str
    by_plain: tuple[int, int]
    steps: Sequence[StepRows]
    reasons: tuple[str, ...]
    settings: Settings

    def plan(self, examples: Sequence[Example], epochs: float, seed: int) -> list[StepRows]:
        """Return the steps of other examples, laid out in the same way."""
        table = prefixes.sort(examples) if self.shared else None
        return _planned(examples, self.settings, epochs, seed, packed=self.packed, shared=table)


def choose(
    model: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainConfig,
    settings: Settings,
    one_pass: bool | None = None,
    here: Ranks = ALONE,
) -> Layout:
    """Find out by passes over two rows what the model allows, and plan the steps so that the least is computed.

    ``one_pass`` says whether each step is to be one pass, if that was chosen before. What is found of the model by
    numbers is what rank 0 found. Raises ``ModelError`` if the model lets a token see later ones.
    """
    head, packed, reasons = _allowed(model, examples, config, here)
    if packed and settings.pack_tokens > (most := _most(model, config, settings.pack_tokens)):
        settings = replace(settings, pack_tokens=most)
        reasons.append(
            f"pack_tokens {most}: longer rows, each in a pass of its own, have other positions than shorter ones in "
            f"this model; with max_length {most} there are none"
        )

    def laid(settings: Settings) -> tuple[Prefixes | None, list[StepRows], str]:
        def planned(shared: Prefixes | None) -> list[StepRows]:
            return _planned(examples, settings, settings.epochs, config.seed, packed=packed, shared=shared)

        share = config.sharing and packed and not config.neftune_alpha
        apart = config.objective == "sft" and any(len(one.rows) > 1 for one in examples)
        table, why = _worth(model, examples, planned, always=apart) if share else (None, "")
        return table, planned(table), why

    table, steps, why = laid(settings)
    if packed and (fewer := _for_each_rank(model, config, settings, examples, steps, table)):
        lower = replace(settings, pack_tokens=fewer)
        found = laid(lower)
        if lacking(found[1], config.ranks) < lacking(steps, config.ranks):  # not where steps are single long rows
            settings, (table, steps, why) = lower, found
            reasons.append(f"pack_tokens {fewer}: so that a step has a pass for each of {config.ranks} ranks")
    if one_pass is None:
        may = packed and head.fused and _may_be_one_pass(model, config, settings)
        one_pass = may and 0 < _largest(examples, steps, table) <= _most(model, config, _IN_ONE * settings.pack_tokens)
    if one_pass:
        settings = replace(settings, pack_tokens=_most(model, config, _IN_ONE * settings.pack_tokens))
        table, steps, why = laid(settings)
    reasons += [why, _attention(model, examples, steps, settings, shared=table is not None)]
    path = model.config._attn_implementation
    by_plain = _by_plain(model, examples, settings)
    if by_plain[0]:
        reasons.append(
            f"attention by plain torch in {by_plain[0]} of {by_plain[1]} layers, slower: no kernel here takes what "
            "they do (caps, sinks, dropout, values of another width, or rows beyond a window)"
        )
    said = tuple(reason for reason in reasons if reason)
    return Layout(head, packed, table is not None, one_pass, path, by_plain, steps, said, settings)


def _allowed(
    model: PreTrainedModel, examples: Sequence[Example], config: TrainConfig, here: Ranks
) -> tuple[Head, bool, list[str]]:
    """Return how the model makes logits, whether rows may share a pass, and why what was asked for can't be."""
    probe = _probe(model, examples)
    head = Head(**here.agreed(asdict(find(model, probe))))
    exact = here.agreed(likelihood.packing_is_exact(model, probe))
    # A pair with one row beyond ``apart_beyond`` is two passes: ranks that hold shares would gather unequally often.
    uneven = config.shard == "fsdp" and config.objective != "sft" and apart_beyond(model.config) is not None
    packed = config.packing and exact and not uneven
    reasons = []
    if config.packing and exact and uneven:
        reasons.append("packing is off: under fsdp, answers of a model whose positions depend on a pass go one by one")
    elif config.packing and not packed:
        reasons.append("packing is off: this model has layers that would mix neighbouring rows")
    if config.sharing and not packed:
        reasons.append("sharing is off: each row has a pass of its own")
    if config.neftune_alpha and config.sharing and packed:
        reasons.append("sharing is off: with neftune_alpha each row has noise of its own")
    return head, packed, reasons


def _most(model: PreTrainedModel, config: TrainConfig, tokens: int) -> int:
    """Return ``tokens`` of a pass, or fewer, so that a row which changes others' positions is too long for company."""
    end = apart_beyond(model.config)
    return tokens if end is None or (config.max_length or tokens) <= end else min(tokens, end)


def _for_each_rank(
    model: PreTrainedModel,
    config: TrainConfig,
    settings: Settings,
    examples: Sequence[Example],
    steps: Sequence[StepRows],
    table: Prefixes | None,
) -> int | None:
    """Return fewer tokens for a pass, where most steps have fewer passes than there are ranks; None: it is well so.

    Ranks divide a step by its passes. Each pass draws noise of its own: there, more ranks would be another training.
    """
    few = [step for step in steps if len(step.packs) < config.ranks]
    if config.pack_tokens or draws(model, config) or 2 * len(few) <= len(steps):
        return None
    computed = sorted(_computed(examples, step, table) for step in few)
    share = -(-computed[len(computed) // 2] // config.ranks)
    return share if share < settings.pack_tokens else None


def lacking(steps: Sequence[StepRows], ranks: int) -> int:
    """Return how many steps have fewer passes than there are ranks."""
    return sum(len(step.packs) < ranks for step in steps)


def _may_be_one_pass(model: PreTrainedModel, config: TrainConfig, settings: Settings) -> bool:
    """Whether a step may be one pass, though it is larger than what ``pack_tokens`` was chosen for.

    Behind another pass, every weight's gradient stands beside what a pass keeps; in the only one, gradients take the
    place of what is dropped (``kernels.room``). So a pass of twice as many tokens takes about as much memory, reads the
    weights once and computes a common prefix once. Not where ranks divide a step by its passes, and not where noise or
    a reference would be another one in other passes.
    """
    alone = config.ranks <= 1 and not config.on
    makes_room = footprint.summed_at_once(config, settings.weights, settings.device)
    return makes_room and alone and not draws(model, config) and config.objective == "sft" and not config.pack_tokens


def draws(model: PreTrainedModel, config: TrainConfig) -> bool:
    """Return whether a pass draws noise, so that other passes are another training."""
    return bool(config.neftune_alpha or config.lora.dropout) or noise.drawn(model)


def _largest(examples: Sequence[Example], steps: Sequence[StepRows], table: Prefixes | None) -> int:
    """The most tokens that a step of several passes would compute in one; 0 if there is none."""
    return max((_computed(examples, step, table) for step in steps if len(step.packs) > 1), default=0)


def _computed(examples: Sequence[Example], step: StepRows, table: Prefixes | None) -> int:
    """The tokens that a step computes in one pass."""
    members = [index for one in step.packs for index in one]
    return table.tokens(members) if table else sum(_length(examples[index]) for index in members)


def may_share(model: PreTrainedModel, examples: Sequence[Example]) -> bool:
    """Return whether rows of the model may share a pass, however long they are."""
    return apart_beyond(model.config) is None and likelihood.packing_is_exact(model, _probe(model, examples))


def _probe(model: PreTrainedModel, examples: Sequence[Example]) -> batches.Pack:
    rows = [_probed(row) for example in examples[:2] for row in example.rows]
    return batches.collate((rows * 2)[:2], share=False).to(str(model.device))  # one to be sharded is on the host still


def _probed(row: Encoded) -> Encoded:
    """The end of a row, every token of it supervised: as much as shows how a model treats rows."""
    ids = row.ids[-_PROBED:]
    return Encoded(ids, (0.0, *[1.0] * (len(ids) - 1)))


def _planned(
    examples: Sequence[Example],
    settings: Settings,
    epochs: float,
    seed: int,
    *,
    packed: bool,
    shared: Prefixes | None,
) -> list[StepRows]:
    return batches.plan(
        [_length(example) for example in examples],
        epochs=epochs,
        batch_tokens=settings.batch_tokens,
        pack_tokens=settings.pack_tokens,
        packing=packed,
        seed=seed,
        shared=shared,
    )


def _length(example: Example) -> int:
    return sum(len(row.ids) for row in example.rows)


def _worth(
    model: PreTrainedModel,
    examples: Sequence[Example],
    planned: Callable[[Prefixes | None], Sequence[StepRows]],
    *,
    always: bool,
) -> tuple[Prefixes | None, str]:
    """Return what rows share if it pays to compute it once, and what it is worth or why it can't be done.

    ``always``: whether it pays or not, for rows of one example would else be a pass that nothing bounds.
    """
    if noise.drawn(model):
        return None, "sharing is off: this model has dropout or jitter, which each row must draw for itself"
    table = prefixes.sort(examples)
    packs = [one for step in planned(table) for one in step.packs]
    every = sum(_length(examples[index]) for one in packs for index in one)
    computed = sum(table.tokens(one) for one in packs)
    if computed > (1 - _WORTH) * every and not always:
        return None, f"sharing is off: of {every} tokens {computed} would still be computed, too many for it to pay"
    return table, f"sharing: of {every} tokens about {computed} are computed, for rows begin with the same ones"


def _attention(
    model: PreTrainedModel, examples: Sequence[Example], steps: Sequence[StepRows], settings: Settings, *, shared: bool
) -> str:
    """Set the fastest path, on CUDA by timing the largest pass of the first step; return what is to be said of it."""
    if model.config._attn_implementation not in (FUSED, PARTS):
        return "attention by the model's own code: ours doesn't stand for it"
    text = model.config.get_text_config()
    if settings.device == "cpu":
        name, why = attention_native.choose(text, model.dtype)
    elif settings.device == "cuda":
        passes = [[row for index in one for row in examples[index].rows] for one in steps[0].packs]
        pack = max((batches.collate(rows, share=shared) for rows in passes), key=lambda pack: pack.tokens)
        segments = Segments(pack.lengths, pack.parents)
        manner = own_attention.manner(model, _longest(examples))  # the first step's rows may all be within a window
        name, why = attention_cuda.fastest(text, segments, model.dtype, manner, shared=shared)
    else:
        return "attention by plain torch, which keeps the scores of all pairs"
    model.set_attn_implementation(name)
    return why


def _by_plain(model: PreTrainedModel, examples: Sequence[Example], settings: Settings) -> tuple[int, int]:
    """In how many layers, of how many, plain torch does the work of a path's kernel."""
    path = model.config._attn_implementation
    if settings.device not in ("cpu", "cuda") or not attention.ours(path) or path == PARTS:
        return 0, 0
    return own_attention.by_plain_torch(model, _longest(examples), partial(attention_cuda.kernel_takes, path))


def _longest(examples: Sequence[Example]) -> int:
    return max(len(row.ids) for example in examples for row in example.rows)

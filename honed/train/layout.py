"""How a run's rows lie in its passes: packed or alone, common prefixes once or each by itself, and in which steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from honed.train import batches, likelihood, prefixes
from honed.train.batches import StepRows
from honed.train.config import TrainConfig
from honed.train.defaults import Settings
from honed.train.prefixes import Example, Prefixes

_WORTH = 0.01
"""Sharing must save this part of the tokens: for less, passes that are filled better are worth more."""


@dataclass(frozen=True)
class Layout:
    """The steps of a run, and the way their examples go through the model.

    ``fused``: the head is a plain matrix; ``packed``: rows share a pass; ``shared``: and in it, common prefixes.
    ``reasons`` says why what was asked for isn't done, and what it is worth.
    """

    fused: bool
    packed: bool
    shared: bool
    steps: Sequence[StepRows]
    reasons: tuple[str, ...]


def choose(model: PreTrainedModel, examples: Sequence[Example], config: TrainConfig, settings: Settings) -> Layout:
    """Find out by a pass over two rows what the model allows, and plan the steps so that the least is computed."""
    rows = [row for example in examples[:2] for row in example.rows]
    probe = batches.collate(rows[:2], share=False).to(settings.device)
    fused, exact = likelihood.head_is_plain(model, probe), likelihood.packing_is_exact(model, probe)
    packed = config.packing and exact
    reasons = []
    if config.packing and not packed:
        reasons.append("packing is off: this model has layers that would mix neighbouring rows")
    lengths = [sum(len(row.ids) for row in example.rows) for example in examples]

    def planned(shared: Prefixes | None) -> list[StepRows]:
        return batches.plan(
            lengths,
            epochs=settings.epochs,
            batch_tokens=settings.batch_tokens,
            pack_tokens=settings.pack_tokens,
            packing=packed,
            seed=config.seed,
            shared=shared,
        )

    steps = planned(None)
    if not (config.sharing and packed):
        return Layout(fused, packed, False, steps, tuple(reasons))
    if getattr(model.config.get_text_config(), "attention_dropout", 0.0):
        reasons.append("sharing is off: this model's attention has dropout, which each row must draw for itself")
        return Layout(fused, packed, False, steps, tuple(reasons))
    table = prefixes.sort(examples)
    sharing = planned(table)
    every = sum(lengths[index] for step in sharing for one in step.packs for index in one)
    computed = sum(table.tokens(one) for step in sharing for one in step.packs)
    if computed > (1 - _WORTH) * every:
        return Layout(fused, packed, False, steps, tuple(reasons))
    reasons.append(
        f"sharing is on: of {every} tokens {computed} are computed ({every / computed:.2f} times fewer), "
        "for common prefixes of rows are computed once"
    )
    return Layout(fused, packed, True, sharing, tuple(reasons))

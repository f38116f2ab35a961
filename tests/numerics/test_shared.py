"""Trap 24 as a CPU runs it: on every attention path, through our kernels, beside adapters, for every objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from honed.records import Preference
from honed.train import attention, attention_native, pairs, prefixes, ratings
from honed.train.head import MATRIX
from honed.train.kernels import choice, native, room
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.objectives.kto import RatedPack
from honed.train.objectives.sft import Sft
from honed.train.optim import Optimizer
from honed.train.ratings import Rated
from honed.train.rows import Limit
from tests.needs import missing
from tests.numerics.adapted import adapted, stir
from tests.numerics.compared import GIVEN, made
from tests.numerics.rows import chat, close, conversation, packed_model
from tests.numerics.test_objectives import referred
from tests.numerics.test_prefixes import DOCUMENT, RULES, depths, nested

PATHS = (attention.FUSED, attention_native.NATIVE, attention.PARTS)
WAYS = [(path, kernels) for path in PATHS for kernels in ("transformers", "ours")]
WAYS += [(attention_native.NATIVE, "ours, layers computed again")]

TALK = ("When are you open?", "At nine.", "And on Sundays?")
ASKED = [
    (RULES, ("Where is my parcel?",), "On its way.", "How would I know?"),
    (RULES, ("Do you sell rakes?",), "Yes, three kinds, and all of them of ash.", "No."),
    (DOCUMENT, TALK[:1], "At nine.", "At ten, or whenever somebody is up."),
    (DOCUMENT, TALK, "We are closed on Sundays.", "We are always open."),
    (None, ("Hello",), "Hello to you.", "What?"),
]
"""System prompt, the turns before the answer, a good answer and a bad one: prompts that are prefixes of prompts."""


@cache
def learned(objective: str) -> list[Any]:
    """Rows; two answers to each prompt; or each of these by itself. The reference is a little below the base model."""
    if objective == "sft":
        return nested()
    some: list[Any] = [
        pairs.encode(
            Preference(prompt=conversation(*turns, system=system).messages, chosen=good, rejected=bad),
            chat(),
            Limit(400),
        )
        for system, turns, good, bad in ASKED
    ]
    if objective == "kto":
        sides = [Rated(row, good) for pair in some for row, good in zip(pair.rows, (True, False), strict=True)]
        some = list(ratings.matched(sides, 400))
    known = referred(packed_model(hidden=64), some, made(objective))
    return [replace(one, reference=(one.reference[0] - 1, one.reference[1] - 2)) for one in known]


def prepared(model: PreTrainedModel, weights: str) -> PreTrainedModel:
    """With ``lora``, beside adapters of which no half is zero, so that all have a gradient."""
    return stir(adapted(model=model)) if weights == "lora" else model


def gradients(
    model: PreTrainedModel, objective: Any, passes: Sequence[Sequence[Any]], *, rooms: bool
) -> dict[str, Tensor]:
    """Those of one optimizer step, as the loop computes it: in rooms, or as autograd makes them."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimizer = Optimizer(named, weight_decay=0.0)
    assert all(room.of(p) is not None for _, p in named if p.ndim == 2)
    if not rooms:
        for parameter in model.parameters():
            vars(parameter).pop(room._NAME, None)
    batches = [objective.collate(one) for one in passes]
    weight = sum(batch.weight for batch in batches)
    model.train()
    ready = objective.ready(model, batches, weight if rooms else None)
    assert all(batch.level > 0 for batch in ready if isinstance(batch, RatedPack))
    for batch in ready:
        (objective.sums(model, batch)["loss"] / weight).backward()
        optimizer.accumulate()
    found = zip(optimizer.names, optimizer.masters, strict=True)
    return {name: master.grad for name, master in found if master.grad is not None}


@cache
def alone(objective: str, weights: str) -> dict[str, Tensor]:
    """Every row in a pass of its own, through transformers' modules and torch's attention."""
    model = prepared(packed_model(hidden=64), weights)
    apart = Sft(MATRIX, share=False) if objective == "sft" else made(objective, packed=False, share=False)
    return gradients(model, apart, [[one] for one in learned(objective)], rooms=False)


@pytest.mark.parametrize("weights", ["full", "lora"])
@pytest.mark.parametrize(("path", "kernels"), WAYS)
@pytest.mark.parametrize("objective", ["sft", *GIVEN])
def test_gradients_with_nested_shared_prefixes_equal_those_of_unshared_rows_however_they_are_computed(
    objective: str, path: str, kernels: str, weights: str
) -> None:
    model = packed_model(path=path, hidden=64)
    wide = torch.empty(1, 4, 1, model.config.head_dim)
    if path == attention_native.NATIVE and not native.takes(wide, wide):
        missing("a C compiler with OpenMP", "gcc libc6-dev")
    if kernels != "transformers":
        installed = install(model, compiled=choice.choose(torch.float32, "cpu")[0])
        assert installed.fused == installed.found and len(installed.found) == 4
    if kernels.endswith("again"):
        checkpoint_layers(model)
    some = learned(objective)
    shared = Sft(MATRIX) if objective == "sft" else made(objective)
    passes = [some[:-2], some[-2:]]  # two, so that gradients are summed
    assert max(depths(prefixes.grow([row.ids for one in passes[0] for row in one.rows]).parents)) >= 3
    close(
        gradients(prepared(model, weights), shared, passes, rooms=kernels != "transformers"), alone(objective, weights)
    )

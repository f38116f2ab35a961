"""Traps 12 and 13 where a long row changes the positions of all in its pass (longrope): it has none to change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
)

from honed.jobs.job import create
from honed.models import losses
from honed.models.chat import Encoded
from honed.models.load import LoadedModel
from honed.models.positions import apart_beyond
from honed.store import workspace
from honed.train import attention, batches, layout
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.head import MATRIX
from honed.train.heldout import HeldOut
from honed.train.layout import Layout
from honed.train.objectives.sft import Sft
from honed.train.placement import Replicated
from honed.train.prefixes import Example
from honed.train.reference import Reference
from tests.numerics import compared
from tests.numerics.rows import chat, close, gradients, reference_loss

END = 48
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [9.0] * 4}
SMALL: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "eos_token_id": None,
    "initializer_range": 0.3,
}
BY_LAYERS = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    "full_attention": {**LONG, "original_max_position_embeddings": 64},
}


def phi(**other: Any) -> Phi3Config:
    return Phi3Config(**{**SMALL, "rope_parameters": dict(LONG), "original_max_position_embeddings": END, **other})


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    attention.register()
    torch.manual_seed(0)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(phi(), attn_implementation=attention.FUSED)
    return made.eval()


def rows(*lengths: int) -> list[Encoded]:
    """Rows that begin alike, by twenty tokens."""
    drawn = torch.Generator().manual_seed(1)
    every = [(*range(20), *torch.randint(0, 250, (length - 20,), generator=drawn).tolist()) for length in lengths]
    return [Encoded(ids, (0.0, *[1.0] * (len(ids) - 1))) for ids in every]


def chosen(model: PreTrainedModel, some: Sequence[Example], **asked: Any) -> Layout:
    config = TrainConfig(base="b", data="d", **{"epochs": 1, "batch_tokens": 1000, "weights": "full", **asked})
    tokens = sum(len(row.ids) for one in some for row in one.rows)
    return layout.choose(model, some, config, resolve(config, Facts(1, len(some), tokens, 10**10, "cpu", "fp32", "")))


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize(
    "lengths",
    [(22, 60, 25, END, 90, 24, 23, END + 1), (30, 60)],
    ids=["some long", "one pass, but for that"],
)
def test_rows_in_passes_have_the_gradients_of_rows_by_themselves_though_some_have_other_positions(
    model: PreTrainedModel, lengths: tuple[int, ...], sharing: bool
) -> None:
    some = rows(*lengths)
    made = chosen(model, some, sharing=sharing)
    assert made.packed and made.settings.pack_tokens == END and not made.one_pass
    assert any(f"pack_tokens {END}: longer rows" in reason for reason in made.reasons)
    packs = [pack for step in made.steps for pack in step.packs]
    assert len(packs) < len(some) or len(some) == 2
    assert made.shared is (sharing and len(some) > 2)
    alone = gradients(model, some, [[index] for index in range(len(some))])
    close(gradients(model, some, packs), alone)
    with pytest.raises(AssertionError):
        close(gradients(model, some, [range(len(some))]), alone)
    heldout = HeldOut(some, Sft(MATRIX), made.packed, "cpu", made.settings.pack_tokens)
    expected = sum(reference_loss(model, row).item() for row in some) / sum(row.supervised for row in some)
    assert heldout.loss(Replicated(model)) == pytest.approx(expected, rel=1e-5)


def test_passes_are_as_large_as_they_may_be_where_no_row_may_be_long(model: PreTrainedModel) -> None:
    made = chosen(model, rows(22, 25, 30), max_length=END, pack_tokens=77)
    assert made.settings.pack_tokens == 77 and not any("pack_tokens" in reason for reason in made.reasons)
    assert chosen(model, rows(22, 25, 30), pack_tokens=77).settings.pack_tokens == END


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_answers_of_which_only_some_have_other_positions_are_compared_as_if_each_were_by_itself(
    model: PreTrainedModel, name: str
) -> None:
    some = compared.examples(name, 6)
    sizes = sorted(len(row.ids) for one in some for row in one.referred)
    assert sizes[0] < END < sizes[-1]
    found, expected, mixed = (
        compared.gradients(model, some, [range(6)], compared.made(name, **how))
        for how in ({"within": END}, {"packed": False}, {})
    )
    close(found[0], expected[0])
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    with pytest.raises(AssertionError):
        close(mixed[0], expected[0])


def test_the_bases_likelihoods_of_answers_in_one_pass_are_those_of_each_by_itself(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    some = compared.rated(6)
    job = create(workspace.init(tmp_path), "train", TrainConfig(base="b", data="d"))
    how = Reference("b", "fp32", "cpu", packed=True, shared=True, head=MATRIX, pack_tokens=END, within=END)
    found = how.attach(Replicated(model), some, ["x"] * 6, job, lambda: False, [range(6)])
    expected = [-reference_loss(model, row).item() for one in some for row in one.referred]
    assert [value for one in found for value in one.reference] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [2, 5])
def test_a_row_has_the_measured_loss_that_it_has_by_itself_though_others_of_its_batch_have_other_positions(
    batch_size: int,
) -> None:
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(phi()).eval()
    loaded = LoadedModel(plain, chat(), "phi", "0" * 16, 512)
    some = {str(len(row.ids)): row for row in rows(30, 90, END + 2, END + 1, 25)}  # the last token isn't fed
    together, alone = (
        [{name: one.nats for name, one in found.items()} for found in losses.measure(loaded, some, size)]
        for size in (batch_size, 1)
    )
    assert [list(found) for found in together] == (
        [["25", "30"], ["49"], ["50", "90"]] if batch_size == 2 else [["25", "30", "49"], ["50", "90"]]
    )
    expected = {name: nats for found in alone for name, nats in found.items()}
    assert {name: nats for found in together for name, nats in found.items()} == pytest.approx(expected, rel=1e-5)


def test_answers_that_all_have_the_same_positions_share_a_pass() -> None:
    (pack,) = compared.made("dpo", within=1000).collate(compared.answered(3)).packs
    assert len(pack.counts) == 6


@pytest.mark.parametrize(
    ("config", "end"),
    [
        (phi(), END),
        (phi(original_max_position_embeddings=512), None),
        (LlamaConfig(**SMALL, rope_parameters={**LONG, "original_max_position_embeddings": 64}), 64),
        (LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}), None),
        (LlamaConfig(**SMALL), None),
        (Gemma3TextConfig(**SMALL, head_dim=8, rope_parameters=BY_LAYERS), 64),
        (BloomConfig(), None),
    ],
    ids=["phi", "phi, not further", "llama", "dynamic", "default", "by layers", "none"],
)
def test_beyond_how_many_tokens_a_row_changes_others_is_read_from_the_settings(
    config: PreTrainedConfig, end: int | None
) -> None:
    assert apart_beyond(config) == end


def test_a_row_never_changes_the_dynamic_positions_of_others_within_the_models_context() -> None:
    made = LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0})
    model = AutoModelForCausalLM.from_config(made, attn_implementation=attention.FUSED).eval()
    some = rows(30, 512)
    close(gradients(model, some, [[0, 1]]), gradients(model, some, [[0], [1]]))
    assert batches.collate(some).tokens == 522


def test_answers_have_passes_of_their_own_where_shares_are_gathered_as_often_on_every_rank(
    model: PreTrainedModel,
) -> None:
    pairs = compared.answered(4)
    assert chosen(model, pairs, objective="dpo").packed and chosen(model, rows(22, 60), shard="fsdp", ranks=2).packed
    made = chosen(model, pairs, objective="dpo", shard="fsdp", ranks=2)
    assert not made.packed and any("go one by one" in reason for reason in made.reasons)

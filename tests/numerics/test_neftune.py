"""Noise on embeddings: uniform, scaled by each row's own length, in training only, drawn from torch's generator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from honed.train import adapters, batches, likelihood, neftune
from honed.train.head import MATRIX, MODEL
from honed.train.lora_config import LoraConfig
from tests.numerics.rows import packed_model, uneven


def embedded(alpha: float, *, training: bool = True, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """What a pass over four uneven rows embeds them as, without and with noise."""
    model, pack = packed_model().to(dtype), batches.collate(uneven(4), share=False)
    neftune.add(model, alpha)
    model.train(training)
    seen: list[Tensor] = []
    model.get_input_embeddings().register_forward_hook(lambda _module, _args, out: seen.append(out.detach()))
    torch.manual_seed(0)
    likelihood.nll(model, pack, MATRIX)
    return torch.nn.functional.embedding(pack.ids, model.get_input_embeddings().weight).detach(), seen[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_row_of_a_pack_has_noise_of_its_own_length(dtype: torch.dtype) -> None:
    plain, noisy = embedded(5.0, dtype=dtype)
    rows = uneven(4)
    assert len({len(row.ids) for row in rows}) == 4 and noisy.dtype == dtype
    parts = (noisy.float() - plain.float())[0].split([len(row.ids) for row in rows])
    for row, part in zip(rows, parts, strict=True):
        most = 5.0 / (len(row.ids) * plain.shape[-1]) ** 0.5
        slack = 1.02 if dtype == torch.bfloat16 else 1.0001
        assert 0.95 * most < part.abs().max() < slack * most
        assert abs(float(part.std()) / (most / 3**0.5) - 1) < 0.1  # uniform
        assert abs(float(part.mean())) < 0.1 * most


def test_there_is_none_in_evaluation() -> None:
    plain, noisy = embedded(5.0, training=False)
    assert torch.equal(plain, noisy)


def test_it_follows_torchs_generator() -> None:
    one, other = embedded(5.0)[1], embedded(5.0)[1]
    assert torch.equal(one, other)
    model, pack = packed_model(), batches.collate(uneven(4), share=False)
    neftune.add(model, 5.0)
    model.train()
    losses = [float(likelihood.nll(model, pack, head).detach()) for head in (MATRIX, MATRIX, MODEL)]
    assert len(set(losses)) == 3


def test_a_model_with_adapters_trains_under_noise_and_answers_without_rows_afterwards() -> None:
    model, pack = packed_model(), batches.collate(uneven(2), share=False)
    adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=0)
    neftune.add(model, 5.0)
    model.train()
    likelihood.nll(model, pack, MATRIX).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    model.eval()
    model.set_attn_implementation("sdpa")
    assert model(pack.ids).logits.isfinite().all()

"""On a CUDA card (``HONED_TESTS_GPU=1 python -m pytest tests/numerics/test_cuda.py``): its paths are exact too."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from honed.jobs import launch
from honed.store.workspace import Workspace
from honed.train import attention, attention_cuda, token_loss
from honed.train.attention import Manner, Segments
from honed.train.kernels import choice
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu
from tests.train.conftest import home  # noqa: F401 - the workspace of small datasets
from tests.train.jobs import start

pytestmark = pytest.mark.skipif(
    os.environ.get("HONED_TESTS_GPU") != "1" or not torch.cuda.is_available(),
    reason="HONED_TESTS_GPU=1 and a CUDA card: not asked for, or not here",
)

FORESTS = [
    Segments((40,)),
    Segments((30, 10, 20), (-1, 0, 0)),
    Segments((100, 28)),
    Segments((129,)),
    Segments((300, 200, 500), (-1, 0, 0)),
    Segments((4096, 1024, 2048, 1024), (-1, 0, 0, 0)),
]


def drawn(heads: tuple[int, int], segments: Segments, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    counts = (heads[0], heads[1], heads[1])
    return [torch.randn(1, count, sum(segments.lengths), 64, dtype=dtype, device="cuda") for count in counts]


@pytest.mark.parametrize("segments", FORESTS, ids=lambda one: str(one.lengths))
@pytest.mark.parametrize("heads", [(4, 4), (9, 3), (8, 2), (8, 1)], ids=str)
def test_flex_attention_and_its_gradients_are_those_of_plain_torch(heads: tuple[int, int], segments: Segments) -> None:
    for dtype, within in ((torch.bfloat16, 2e-2), (torch.float32, 1e-2)):
        assert attention.agrees(attention_cuda.by_flex, *drawn(heads, segments, dtype), segments, within)
    with torch.no_grad():
        q, k, v = drawn(heads, segments, torch.bfloat16)
        found, expected = (path(q, k, v, segments, 0.125) for path in (attention_cuda.by_flex, attention.by_parts))
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("manner", [Manner(window=50), Manner(cap=5.0), Manner(window=7, cap=2.0)], ids=str)
def test_flex_attention_in_any_manner_is_that_of_plain_torch(manner: Manner) -> None:
    for segments in FORESTS[:5]:
        q, k, v = drawn((8, 2), segments, torch.float32)
        found, expected = (
            path(q, k, v, segments, 0.125, manner) for path in (attention_cuda.by_flex, attention.by_parts)
        )
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("lengths", [(40,), (100, 28), (1, 700, 299)], ids=str)
@pytest.mark.parametrize("heads", [(4, 4), (9, 3), (8, 2)], ids=str)
def test_flash_attention_over_rows_of_varying_length_is_that_of_plain_torch(
    heads: tuple[int, int], lengths: tuple[int, ...]
) -> None:
    segments = Segments(lengths)
    assert attention.agrees(attention_cuda.by_varlen, *drawn(heads, segments, torch.bfloat16), segments, 2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "sizes", [choice.Sizes(576, 1536, 49_152, 9, 64), choice.Sizes(64, 100, 259, 4, 16)], ids=lambda one: str(one.width)
)
def test_compiled_norms_activations_and_losses_agree_with_torch(sizes: choice.Sizes, dtype: torch.dtype) -> None:
    assert choice.choose(dtype, "cuda", sizes) == (True, "")


def test_a_pass_of_any_size_takes_the_same_compiled_kernels() -> None:
    hidden, head, weight = (torch.randn(*shape, device="cuda") for shape in ((4000, 64), (8192, 64), (64,)))
    made = []
    for rows in (40, 129, 1000, 3999):
        x = torch.randn(1, rows, 64, device="cuda", requires_grad=True)
        normed = rms_norm(x, weight, 1e-5, compiled=True)
        torch.testing.assert_close(normed, rms_norm(x, weight, 1e-5), rtol=1e-4, atol=1e-4)
        turned = rotate(
            normed.view(1, rows, 4, 16).transpose(1, 2),
            *x.view(1, 4, rows, 16)[:, :2].detach().unbind(1),
            compiled=True,
        )
        out = swiglu(turned.transpose(1, 2).reshape(1, rows, 64), x, compiled=True)
        leaf = head.clone().requires_grad_()
        chosen = torch.randint(8192, (rows,), device="cuda")
        loss = token_loss.weighted_nll(
            hidden[:rows] + out[0], leaf, chosen, torch.rand(rows, device="cuda"), compiled=True
        )
        torch.autograd.grad(loss, (x, leaf))
        made.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert made[0] == made[1] == made[2]
    assert made[3] == made[2] + 1  # whose logits are in several chunks: for parts of the vocabulary, of whatever width


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("compiled", [False, True])
def test_losses_of_two_sweeps_are_those_of_cross_entropy(compiled: bool, dtype: torch.dtype, learns: bool) -> None:
    torch.manual_seed(0)
    hidden = (0.3 * torch.randn(3000, 64, device="cuda")).to(dtype).requires_grad_()
    head = torch.randn(32_000, 64, device="cuda").to(dtype).requires_grad_(learns)
    targets, weights = torch.randint(32_000, (3000,), device="cuda"), torch.rand(3000, device="cuda")
    leaves = [hidden, head] if learns else [hidden]
    loss = token_loss.weighted_nll(hidden, head, targets, weights, compiled=compiled)
    each = torch.nn.functional.cross_entropy(hidden.float() @ head.float().T, targets, reduction="none")
    expected = (each * weights).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)
    within = 1e-4 if dtype == torch.float32 else 2e-2
    for one, right in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        assert float((one.float() - right.float()).abs().max()) <= within * float(right.float().abs().max())


@pytest.mark.parametrize(
    "how",
    [
        {"weights": "full"},
        {"weights": "lora"},
        {"weights": "full", "activation_checkpointing": True},
        {"weights": "full", "shard": "fsdp"},
        {"weights": "full", "compile": True},
        {"weights": "lora", "compile": True, "activation_checkpointing": True},
        {"weights": "lora", "objective": "dpo", "data": "liked"},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_on_the_card_ends_with_the_loss_of_one_on_the_cpu(
    home: Workspace,  # noqa: F811
    how: dict[str, Any],
    precision: str,
) -> None:
    losses = []
    for device in ("cuda", "cpu"):
        asked = {**how, "device": device, "precision": precision, "epochs": 1, "name": f"on-{device}"}
        result = launch.wait(start(home, **asked))
        assert result["ran"]["device"] == device
        by = "triton" if how.get("compile") else "torch"
        assert device == "cpu" or result["ran"]["kernels"]["elementwise"] == by
        losses.append(result["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=5e-3 if precision == "fp32" else 5e-2)

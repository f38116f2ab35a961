"""Log-likelihoods at supervised positions only: exact in value and gradient, and never all logits at once."""

from __future__ import annotations

import weakref
from collections import Counter
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from honed.models.chat import Encoded
from honed.train import attention, batches, likelihood, loss_sweeps, token_loss
from honed.train.batches import collate
from honed.train.head import MATRIX, MODEL, Head
from honed.train.kernels import in_triton
from tests.numerics.rows import packed_model, uneven


@pytest.fixture(params=["once", "twice", "twice, by formulas to compile"])
def sweep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Over positions, as on a CPU, and then over the vocabulary, as on a GPU."""
    monkeypatch.setattr(token_loss, "_sweeps_twice", lambda _: request.param != "once")
    if "compile" in request.param:  # uncompiled here: what torch makes of them is compared on the card
        monkeypatch.setattr(in_triton, "_compiled", lambda formula: formula)
        monkeypatch.setattr(token_loss, "_takes", lambda _hidden, _head, cap: cap is None)
        for name in ("token_logps", "weighted_nll"):
            monkeypatch.setattr(token_loss, name, partial(getattr(token_loss, name), compiled=True))
    return str(request.param)


@pytest.mark.parametrize("sweep", ["once", "twice"], indirect=True)  # what is compiled computes in fp32
@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("cap", [None, 0.8])
def test_gradients_of_token_logps_are_exact_for_any_upstream(
    cap: float | None, chunk: int, frozen: bool, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", chunk * 4 * 13)
    torch.manual_seed(0)
    hidden = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    head = torch.randn(13, 5, dtype=torch.float64, requires_grad=not frozen)
    targets = torch.randint(13, (7,))
    assert torch.autograd.gradcheck(lambda h, w: token_loss.token_logps(h, w, targets, cap), (hidden, head))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("cap", [None, 0.8])
def test_values_and_gradients_equal_those_of_log_softmax_within_a_cap_too(
    cap: float | None, frozen: bool, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", 3 * 4 * 50)
    torch.manual_seed(0)
    hidden, head = torch.randn(11, 8, requires_grad=True), torch.randn(50, 8, requires_grad=not frozen)
    targets, upstream = torch.randint(50, (11,)), torch.randn(11)
    logps = token_loss.token_logps(hidden, head, targets, cap)
    logits = hidden @ head.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    plain = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(logps, plain)
    inputs = [hidden] if frozen else [hidden, head]
    expected = torch.autograd.grad((plain * upstream).sum(), inputs, retain_graph=True)
    summed = -token_loss.weighted_nll(hidden, head, targets, upstream, cap=cap)
    for ours in (torch.autograd.grad((logps * upstream).sum(), inputs), torch.autograd.grad(summed, inputs)):
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frozen", [True, False])
def test_in_16_bits_both_sweeps_are_as_near_to_fp32_as_one(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", 5 * 6 * 50)
    torch.manual_seed(0)
    hidden, head = torch.randn(23, 8).bfloat16(), torch.randn(50, 8).bfloat16()
    targets, weights = torch.randint(50, (23,)), torch.rand(23)

    def computed(*start: Tensor) -> list[Tensor]:
        leaves = [start[0].clone().requires_grad_(), start[1].clone().requires_grad_(not frozen)]
        loss = token_loss.weighted_nll(*leaves, targets, weights)
        return [loss.detach(), *torch.autograd.grad(loss, leaves[:1] if frozen else leaves)]

    exact = computed(hidden.float(), head.float())
    gaps = []
    for twice in (False, True):
        monkeypatch.setattr(token_loss, "_sweeps_twice", lambda _, twice=twice: twice)
        found = computed(hidden, head)
        gaps.append(
            [float((one.float() - right).norm() / right.norm()) for one, right in zip(found, exact, strict=True)]
        )
    for once, both in zip(*gaps, strict=True):
        assert both <= 1.2 * once + 1e-6


def test_no_supervised_places_give_no_loss_and_no_gradient(sweep: str) -> None:
    head = torch.randn(13, 5, requires_grad=True)
    logps = token_loss.token_logps(torch.randn(0, 5), head, torch.zeros(0, dtype=torch.long))
    logps.sum().backward()
    assert sweep and logps.shape == (0,) and head.grad is not None and not head.grad.any()


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.parametrize("frozen", [True, False])
def test_all_logits_never_exist_at_once(frozen: bool, sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places, width, vocabulary = 200, 4, 300
    monkeypatch.setattr(loss_sweeps, "CHUNK_BYTES", 10 * 4 * vocabulary)
    hidden, head = torch.randn(places, width, requires_grad=True), torch.randn(vocabulary, width)
    head.requires_grad_(not frozen)
    with _Largest() as largest:
        token_loss.token_logps(hidden, head, torch.randint(vocabulary, (places,))).square().sum().backward()
    assert largest.numel <= 10 * vocabulary


class _Held(TorchDispatchMode):
    """The most bytes of matrices of logits, and of what is made of them, that there are at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: Counter[tuple[int, int]] = Counter()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.ndim == 2 and min(made.shape) > 1:
            place = made.untyped_storage().data_ptr()
            size = made.untyped_storage().nbytes()
            self.alive[place, size] += 1
            weakref.finalize(made, self.alive.subtract, [(place, size)])
            self.most = max(self.most, sum(size for (_, size), count in self.alive.items() if count > 0))
        return made


@given(
    places=st.integers(2, 60),
    vocabulary=st.integers(2, 300),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    cap=st.sampled_from([None, 0.8]),
    compiled=st.booleans(),
)
@settings(deadline=None)
def test_logits_and_what_is_made_of_them_stay_within_their_bytes_unless_one_positions_alone_are_more(
    places: int, vocabulary: int, dtype: torch.dtype, cap: float | None, compiled: bool
) -> None:
    cap = None if compiled else cap
    hidden, head = torch.randn(places, 1).to(dtype), torch.randn(vocabulary, 1).to(dtype)
    given_ = hidden, head, torch.randint(vocabulary, (places,)), torch.rand(places)
    room = torch.empty_like(hidden), torch.empty_like(head)
    with pytest.MonkeyPatch.context() as patch, _Held() as held:
        patch.setattr(loss_sweeps, "CHUNK_BYTES", 8_000)
        patch.setattr(in_triton, "losses", lambda *_: (0.0, 0.0))  # what they hold is looked at on the card
        patch.setattr(in_triton, "gradients", lambda *_: None)
        loss_sweeps.over_both(*given_, *room, cap, compiled=compiled)
    one = (dtype.itemsize if compiled else loss_sweeps._bytes(dtype, cap)) * max(places, vocabulary)
    assert 0 < held.most <= max(8_000, one)


def test_only_the_answers_tokens_count() -> None:
    model, row = packed_model(), uneven(1)[0]
    start = next(place for place, weight in enumerate(row.weights) if weight)
    with torch.no_grad():
        logits = model(torch.tensor([row.ids]), segments=attention.Segments((len(row.ids),))).logits[0].log_softmax(-1)
        (ours,) = likelihood.row_logps(model, batches.collate([row]), MATRIX)
    want = sum(float(logits[place - 1, row.ids[place]]) for place in range(start, len(row.ids)) if row.weights[place])
    assert float(ours) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("head", [MATRIX, MODEL], ids=["matrix", "model"])
def test_gradients_where_many_rows_share_a_prompt_are_the_same_to_the_bit_in_every_run(head: Head) -> None:
    """Also with several threads, and as many numbers as torch divides among them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=64, hidden_size=576, intermediate_size=32, num_hidden_layers=1, num_attention_heads=9
            )
        )
        attention.register()
        model.set_attn_implementation(attention.FUSED)
        prompt = tuple(range(1, 5)) * 20
        rows = [Encoded((*prompt, *[5 + n] * 4), (0.0,) * 80 + (1.0,) * 4) for n in range(50)]
        pack = collate(rows, share=True)
        assert pack.at.unique(return_counts=True)[1].max() == 50

        def gradient() -> Tensor:
            model.zero_grad()
            likelihood.nll(model, pack, head).backward()
            return model.model.embed_tokens.weight.grad.clone()

        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(6))
    finally:
        torch.set_num_threads(threads)

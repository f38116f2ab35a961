"""Trap 14 and more: our kernels and recomputed layers change nothing but time and memory, and say that they ran."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, apply_rotary_pos_emb

from honed.errors import ModelError
from honed.jobs import launch
from honed.models.chat import Encoded
from honed.train import adapters, attention, batches, heap, likelihood
from honed.train.head import MATRIX
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.kernels.norm import rms_norm
from honed.train.kernels.rotary import rotate
from honed.train.kernels.swiglu import swiglu, swiglu_down
from honed.train.lora_config import LoraConfig
from tests.numerics.adapted import stir
from tests.numerics.rows import close, gradients, packed_model, uneven
from tests.tiny import tiny_model

TYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)


def both(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor], tolerance: float) -> None:
    """Assert that values and the gradients of all inputs agree, relative to their size."""
    results = []
    for function in (ours, theirs):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        torch.manual_seed(1)
        out.backward(torch.randn_like(out))
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        assert float((one - other).double().norm() / other.double().norm()) < tolerance


def tolerance(dtype: torch.dtype) -> float:
    return {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@TYPES
def test_rms_norm_equals_the_plain_formula(dtype: torch.dtype) -> None:
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(dtype, torch.float32))
        return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(dtype)

    inputs = [random(2, 7, 24, dtype=dtype), random(24, dtype=dtype, seed=1)]
    both(lambda x, w: rms_norm(x, w, 1e-5), plain, inputs, tolerance(dtype))


def test_rms_norm_equals_the_models_own_module() -> None:
    norm = LlamaRMSNorm(24, eps=1e-5)
    nn.init.normal_(norm.weight)
    x = random(3, 24, dtype=torch.float32)
    torch.testing.assert_close(rms_norm(x, norm.weight, 1e-5), norm(x))


def test_a_frozen_norm_gets_no_gradient_and_a_row_of_zeros_a_finite_one() -> None:
    x, weight = torch.zeros(2, 8, requires_grad=True), torch.ones(8)
    rms_norm(x, weight, 1e-5).sum().backward()
    assert weight.grad is None
    assert torch.isfinite(x.grad).all()


@TYPES
def test_swiglu_equals_silu_times_up_then_down(dtype: torch.dtype) -> None:
    inputs = [random(1, 9, 20, dtype=dtype, seed=s) for s in (0, 1)]
    silu = nn.functional.silu
    both(swiglu, lambda gate, up: silu(gate) * up, inputs, tolerance(dtype))
    inputs.append(random(12, 20, dtype=dtype, seed=2))
    both(swiglu_down, lambda gate, up, down: (silu(gate) * up) @ down.T, inputs, tolerance(dtype))


def test_a_frozen_matrix_after_swiglu_gets_no_gradient() -> None:
    gate, up = (random(9, 20, dtype=torch.float32, seed=s).requires_grad_() for s in (0, 1))
    down = random(12, 20, dtype=torch.float32)
    swiglu_down(gate, up, down).sum().backward()
    assert down.grad is None
    expected = torch.autograd.grad(((nn.functional.silu(gate) * up) @ down.T).sum(), (gate, up))
    torch.testing.assert_close((gate.grad, up.grad), expected)


@TYPES
def test_rotation_equals_that_of_transformers(dtype: torch.dtype) -> None:
    x, cos, sin = random(1, 3, 5, 8, dtype=dtype), random(1, 5, 8, dtype=dtype), random(1, 5, 8, dtype=dtype, seed=1)
    both(lambda q: rotate(q, cos, sin), lambda q: apply_rotary_pos_emb(q, q, cos, sin)[0], [x], tolerance(dtype))


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_a_model_with_our_kernels_has_the_same_gradients_and_says_what_was_installed(weights: str) -> None:
    plain, rows = packed_model(), uneven(6)
    fused = copy.deepcopy(plain)
    names = list(fused.state_dict())
    said = install(fused).describe()
    counts = {"embedding": "1 of 1", "rms_norm": "5 of 5", "rotary": "2 of 2", "swiglu": "2 of 2"}
    assert said == {**counts, "elementwise": "torch"}
    assert list(fused.state_dict()) == names
    if weights == "lora":
        for model in (plain, fused):
            adapters.add(model, LoraConfig(rank=4, alpha=8.0), seed=3)
            for name, parameter in model.named_parameters():
                if name.endswith("lora_B"):  # zero at the start, which hides A's gradient; large, rounding is too
                    parameter.data.copy_(0.1 * random(*parameter.shape, dtype=parameter.dtype, seed=5))
    packs = [[0, 1, 2], [3, 4, 5]]
    close(gradients(fused, rows, packs), gradients(plain, rows, packs))


def test_the_token_that_pads_and_ends_turns_learns_where_it_stands_in_a_row() -> None:
    model = packed_model()
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())  # by itself: the head's gradient would hide it
    model.get_input_embeddings().padding_idx = 5
    install(model)
    row = Encoded((7, 5, 9, 5, 8), (0.0, 0.0, 1.0, 1.0, 1.0))
    assert gradients(model, [row], [[0]])["model.embed_tokens.weight"][5].any()


def test_gradients_in_fp64_agree_as_far_as_the_models_own_fp32_norm_allows() -> None:
    found = []
    for ours in (False, True):
        model = packed_model().double()
        if ours:
            assert install(model).fused == {"embedding": 1, "rms_norm": 5, "rotary": 2, "swiglu": 2}
        ids = torch.arange(30)[None]
        segments = attention.Segments((18, 12))
        hidden = model.base_model(input_ids=ids, position_ids=ids, segments=segments).last_hidden_state
        (hidden * random(*hidden.shape, dtype=torch.float64)).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    close(found[1], found[0], 1e-6)


def test_bf16_gradients_are_as_near_to_fp32_as_those_of_the_models_own_modules() -> None:
    exact, rows = packed_model(), uneven(4)
    wanted = gradients(exact, rows, [range(4)])
    gaps = []
    for ours in (False, True):
        model = packed_model().bfloat16()
        if ours:
            assert install(model).fused["swiglu"] == 2
        found = gradients(model, rows, [range(4)])
        gaps.append(sum(float((found[n].float() - wanted[n]).norm() / wanted[n].norm()) for n in wanted))
    assert gaps[1] < 1.2 * gaps[0]


def test_a_lack_of_memory_says_nothing_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr("honed.train.kernels.install.rms_norm", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        install(packed_model())


def test_generation_with_a_cache_is_the_models_own() -> None:
    plain = packed_model().eval()
    fused = copy.deepcopy(plain)
    install(fused)
    for model in (plain, fused):
        model.set_attn_implementation("sdpa")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert fused.generate(ids, max_new_tokens=6).tolist() == plain.generate(ids, max_new_tokens=6).tolist()


def test_kernels_keep_a_third_less_for_the_backward_pass() -> None:
    kept = []
    for ours in (False, True):
        model = packed_model()
        if ours:
            install(model)
        seen: dict[int, int] = {}
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

        def note(tensor: Tensor, seen: dict[int, int] = seen, weights: set[int] = weights) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        pack = batches.collate(uneven(6), share=False)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = likelihood.nll(model, pack, MATRIX)
        kept.append(sum(seen.values()))
        del loss
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("weights", ["full", "lora", "lora with dropout"])
def test_layers_computed_again_give_the_same_gradients_dropout_included(ours: bool, weights: str) -> None:
    rows, found = uneven(6), []
    for again in (False, True):
        model = packed_model().train()
        if ours:
            install(model)
        if again:
            checkpoint_layers(model)
        if weights != "full":
            adapters.add(model, LoraConfig(rank=4, alpha=8.0, dropout=0.3 if "dropout" in weights else 0.0), seed=3)
            stir(model)
        torch.manual_seed(7)
        found.append(gradients(model, rows, [[0, 1, 2], [3, 4, 5]]))
    assert found[0].keys() == found[1].keys()
    for name, one in found[0].items():
        assert torch.equal(one, found[1][name]), name


def test_layers_computed_again_really_are() -> None:
    model, rows = packed_model().train(), uneven(3)
    checkpoint_layers(model)
    calls = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients(model, rows, [[0, 1, 2]])
    assert len(calls) == 2


def test_a_model_that_cannot_compute_layers_again_is_named() -> None:
    model = tiny_model()
    type(model).supports_gradient_checkpointing, before = False, type(model).supports_gradient_checkpointing
    try:
        with pytest.raises(ModelError, match="LlamaForCausalLM"):
            checkpoint_layers(model)
    finally:
        type(model).supports_gradient_checkpointing = before


def test_a_hook_on_an_adapted_layer_is_called() -> None:
    model = packed_model()
    install(model)
    mlp = model.model.layers[0].mlp
    assert isinstance(mlp, LlamaMLP)
    adapters.add(model, LoraConfig(rank=2, alpha=4.0), seed=0)
    called = []
    mlp.down_proj.register_forward_hook(lambda *_: called.append(1))
    mlp(torch.randn(1, 3, 32))
    assert called == [1]


def test_freed_memory_is_kept_where_the_allocator_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, what: int, value: int) -> int:
            asked.append((what, value))
            return 1

    monkeypatch.setattr(heap.sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: Library())
    monkeypatch.delenv(launch.TUNABLES, raising=False)
    assert heap.keep_freed_memory() == "kept by the process"
    assert asked == [(-4, 0), (-1, -1)]
    monkeypatch.setenv(launch.TUNABLES, f"{launch.WHOLE_BLOCKS}:glibc.rtld.nns=4")
    assert heap.keep_freed_memory() == "kept by the process, in whole blocks"
    assert os.environ[launch.TUNABLES] == "glibc.rtld.nns=4"  # a compiler that is started in turn has its own way
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert not heap.keep_freed_memory()


_PRODUCTS = """
import sys, psutil, torch
from honed.train import heap
if sys.argv[1:] == ["few"]:
    heap.keep_few_kernels()
weight, resident = torch.zeros(64, 64, dtype=torch.bfloat16), psutil.Process().memory_info
def products(sizes):
    for size in sizes:
        torch.nn.functional.linear(torch.zeros(size, 64, dtype=torch.bfloat16), weight)
products([*range(1, 200), 2000])
before = resident().rss
products(range(200, 1200))
print((resident().rss - before) / 1e6)
"""


def test_products_of_ever_new_sizes_do_not_fill_the_memory_with_their_kernels() -> None:
    environment = {name: value for name, value in os.environ.items() if "CACHE_CAPACITY" not in name}

    def grown(*given: str) -> float:
        run = [sys.executable, "-c", _PRODUCTS, *given]
        return float(subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout)

    few = grown("few")
    environment["LRU_CACHE_CAPACITY"] = environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "1024"
    many = grown("few")  # what the user has set stands
    if many < 16:
        pytest.skip("products in 16 bits aren't oneDNN's here")
    assert few < many / 2


@pytest.mark.parametrize("shape", [(3, 5), (200, 300), ()])
def test_what_lasts_holds_what_is_written(shape: tuple[int, ...]) -> None:
    like = torch.ones(shape, dtype=torch.bfloat16, requires_grad=True)
    made = heap.lasting(like)
    assert made.shape == like.shape and made.dtype == torch.float32 and not made.requires_grad
    made.zero_().add_(2)
    del like
    assert bool((made.clone() == 2).all())


def test_memory_that_the_system_does_not_have_is_said_in_the_words_that_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(heap.mmap, "mmap", full)
    with pytest.raises(MemoryError, match="0 MB can't be had: Cannot allocate memory"):
        heap.lasting(torch.empty(200, 300))


def test_what_the_heap_keeps_can_be_given_back_at_once_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(heap.sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: SimpleNamespace(malloc_trim=given.append))
    heap.give_back()
    assert given == [0]
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: SimpleNamespace())  # musl
    heap.give_back()
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    heap.give_back()
    assert given == [0]


def test_holes_are_given_back_once_they_are_a_tenth_and_measured_anew_a_step_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[int] = []
    holds = iter([100, 105, 109, 111, 103, 112, 114])
    holes = heap.Holes()
    monkeypatch.setattr(holes, "_trim", lambda pad: given.append(step))
    monkeypatch.setattr(heap, "_resident", lambda: next(holds))
    for step in range(7):  # noqa: B007 - the lambda reads it
        holes.after_step()
    assert given == [3, 6]  # 111 is more than 1.1 x 100; then 103 is what is held, and 114 more than 1.1 x that

"""Norms and SwiGLU in C: as near to exact as torch's, whatever the sizes; the same bits always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from honed.train.kernels import choice, elementwise, in_c, native
from honed.train.kernels.install import checkpoint_layers, install
from honed.train.kernels.norm import Source, again, rms_norm
from honed.train.kernels.swiglu import swiglu, swiglu_down
from tests.needs import missing
from tests.numerics.rows import close, gradients, packed_model, uneven


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    if native.why_not():
        missing("a C compiler with OpenMP", "gcc libc6-dev")


TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
STEP = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}
"""How far rounding may move a number, relative to it."""


def norm(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
    return rms_norm(x, weight, 1e-5, compiled=compiled)


def exact_norm(x: Tensor, weight: Tensor, *, compiled: bool) -> Tensor:
    """In fp64 throughout: also the square's sum."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


KERNELS: dict[str, Callable[..., Tensor]] = {"norm": norm, "swiglu": swiglu, "down": swiglu_down}
NAMES = pytest.mark.parametrize("name", KERNELS)


def drawn(name: str, rows: int, width: int, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """The inputs of a kernel."""
    torch.manual_seed(seed)
    made = {
        "norm": [torch.randn(1, rows, width), torch.randn(width)],
        "swiglu": [3 * torch.randn(1, rows, width), torch.randn(1, rows, width)],
        "down": [3 * torch.randn(1, rows, width), torch.randn(1, rows, width), torch.randn(24, width)],
    }
    return [one.to(dtype) for one in made[name]]


def computed(name: str, start: list[Tensor], *, compiled: bool, exact: bool = False) -> list[Tensor]:
    """Output and gradients, from the same upstream in every type."""
    leaves = [(one.double() if exact else one).detach().clone().requires_grad_() for one in start]
    function = exact_norm if exact and name == "norm" else KERNELS[name]
    out = function(*leaves, compiled=compiled)
    upstream = torch.linspace(-2, 3, out.numel()).view(out.shape).bfloat16().to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, upstream)]


def errors(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    return [float((one.double() - right).norm()) for one, right in zip(found, expected, strict=True)]


@TYPES
@NAMES
def test_errors_are_no_larger_than_those_of_torch(name: str, dtype: torch.dtype) -> None:
    start = drawn(name, 200, 576, dtype)
    expected = computed(name, start, compiled=False, exact=True)
    ours, theirs = (errors(computed(name, start, compiled=which), expected) for which in (True, False))
    for one, other, right in zip(ours, theirs, expected, strict=True):
        assert one <= 1.05 * other + STEP[torch.float32] * float(right.norm())


@given(name=st.sampled_from(["norm", "swiglu"]), rows=st.integers(1, 70), width=st.integers(2, 90))
@settings(max_examples=60, deadline=None)
def test_any_number_of_rows_of_any_width_equals_the_exact_one(name: str, rows: int, width: int) -> None:
    for dtype, step in STEP.items():
        start = drawn(name, rows, width, dtype)
        expected = computed(name, start, compiled=False, exact=True)
        found = computed(name, start, compiled=True)
        for index, (one, right) in enumerate(zip(found, expected, strict=True)):
            assert one.dtype == dtype and one.shape == right.shape
            size = 1.0  # of what is subtracted: a difference may be far smaller
            if name == "norm" and index == 1:
                least = float(start[0].double().pow(2).mean(-1).add(1e-5).min())
                size = 3 * float(start[1].abs().max()) * least**-0.5
            elif name == "norm" and index == 2:
                size = 3 * rows**0.5  # a sum over rows, of numbers up to 3 of either sign
            assert float((one - right).norm()) <= 8 * step * max(float(right.norm()), size * right.numel() ** 0.5)


@TYPES
@NAMES
@pytest.mark.parametrize("scale", [1e-4, 1e4, 1e30])
def test_small_and_large_numbers_are_computed_as_torch_does(name: str, scale: float, dtype: torch.dtype) -> None:
    start = drawn(name, 40, 36, dtype)
    start[0] *= scale
    ours, theirs = (computed(name, start, compiled=which) for which in (True, False))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
        finite = other.isfinite()
        gap = (one.double() - other.double())[finite].norm()
        assert float(gap) <= 16 * STEP[dtype] * float(other.double()[finite].norm())


@TYPES
@NAMES
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("column", [3, 34])
def test_what_is_not_a_number_comes_out_where_torch_lets_it(
    name: str, value: float, column: int, dtype: torch.dtype
) -> None:
    """In a whole vector, and in the rest of one: a run that diverges must be seen."""
    for which in range(len(drawn(name, 1, 1, dtype))):
        start = drawn(name, 40, 36, dtype)
        row = start[which] if start[which].ndim == 1 else start[which][..., 0, :]
        row[..., column] = value
        ours, theirs = (computed(name, start, compiled=here) for here in (True, False))
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.isnan(), other.isnan())
            assert torch.equal(one.isposinf(), other.isposinf()) and torch.equal(one.isneginf(), other.isneginf())
        assert not ours[0].isfinite().all()


@TYPES
@pytest.mark.parametrize("name", ["norm", "swiglu"])
def test_the_number_of_threads_changes_no_bit(name: str, dtype: torch.dtype) -> None:
    start = drawn(name, 150, 100, dtype)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(computed(name, start, compiled=True))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))


@TYPES
@pytest.mark.parametrize("name", ["norm", "swiglu"])
def test_a_row_gets_the_same_bits_alone_and_among_others(name: str, dtype: torch.dtype) -> None:
    start = drawn(name, 50, 33, dtype)
    whole = KERNELS[name](*start, compiled=True)
    alone = [one[:, 20:30] if one.ndim == 3 else one for one in start]
    assert torch.equal(whole[:, 20:30], KERNELS[name](*alone, compiled=True))


@TYPES
def test_a_norm_computed_again_has_the_same_bits_by_either(dtype: torch.dtype) -> None:
    x, weight = drawn("norm", 20, 45, dtype)
    out, inverse = in_c.norm(x, weight, 1e-5)
    for compiled in (True, False):
        assert torch.equal(again(Source(x, inverse, weight, compiled)), out)


def test_a_frozen_weight_gets_no_gradient_and_a_row_of_zeros_a_finite_one() -> None:
    x, weight = torch.zeros(2, 8, requires_grad=True), torch.ones(8)
    rms_norm(x, weight, 1e-5, compiled=True).sum().backward()
    assert weight.grad is None and torch.isfinite(x.grad).all()
    gate, up = (one.requires_grad_() for one in drawn("swiglu", 9, 20, torch.float32))
    down = torch.randn(12, 20)
    swiglu_down(gate, up, down, compiled=True).sum().backward()
    assert down.grad is None
    expected = torch.autograd.grad(((torch.nn.functional.silu(gate) * up) @ down.T).sum(), (gate, up))
    torch.testing.assert_close((gate.grad, up.grad), expected)


def test_a_frozen_input_leaves_the_matrix_its_gradient() -> None:
    gate, up, down = drawn("down", 9, 20, torch.float32)
    down.requires_grad_()
    swiglu_down(gate, up, down, compiled=True).sum().backward()
    (expected,) = torch.autograd.grad(((torch.nn.functional.silu(gate) * up) @ down.T).sum(), down)
    torch.testing.assert_close(down.grad, expected)


def _apart(tensor: Tensor) -> Tensor:
    """The same numbers, not in one piece."""
    return torch.stack([tensor, tensor], -1)[..., 0]


@NAMES
def test_what_the_kernels_do_not_take_is_computed_by_torch(name: str) -> None:
    plain = drawn(name, 6, 20, torch.float32)
    for start in ([one.double() for one in plain], [_apart(plain[0]), *plain[1:]]):
        outs = [KERNELS[name](*start, compiled=which) for which in (True, False)]
        assert torch.equal(*outs)
    assert elementwise.takes(torch.ones(3)) and not elementwise.takes(torch.ones(3), torch.ones(3).bfloat16())
    assert not elementwise.takes(torch.ones(0, 3)) and not elementwise.takes(_apart(torch.ones(3, 3)))


@NAMES
def test_gradients_that_lie_apart_are_taken(name: str) -> None:
    start = drawn(name, 6, 20, torch.float32)
    leaves = [one.clone().requires_grad_() for one in start]
    out = KERNELS[name](*leaves, compiled=True)
    upstream = torch.randn_like(out)
    found = torch.autograd.grad(out, leaves, _apart(upstream), retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(out, leaves, upstream))


@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_with_kernels_in_c_has_the_same_gradients_and_says_so(recompute: bool) -> None:
    plain, ours = packed_model(), packed_model()
    assert install(plain).describe()["elementwise"] == "torch"
    assert install(ours, compiled=True).describe() == {
        "embedding": "1 of 1",
        "rms_norm": "5 of 5",
        "rotary": "2 of 2",
        "swiglu": "2 of 2",
        "elementwise": "native",
    }
    if recompute:
        checkpoint_layers(ours.train())
    packs = [[0, 1, 2], [3, 4, 5]]
    close(gradients(ours, uneven(6), packs), gradients(plain, uneven(6), packs))


def test_bf16_gradients_of_a_model_are_as_near_to_fp32_as_torchs() -> None:
    rows = uneven(4)
    wanted = gradients(packed_model(), rows, [range(4)])
    gaps = []
    for compiled in (False, True):
        model = packed_model().bfloat16()
        install(model, compiled=compiled)
        found = gradients(model, rows, [range(4)])
        gaps.append(sum(float((found[n].float() - wanted[n]).norm() / wanted[n].norm()) for n in wanted))
    assert gaps[1] < 1.1 * gaps[0]


def test_types_and_devices_that_have_kernels() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert choice.choose(dtype, "cpu") == (True, "")
    assert choice.choose(torch.float64, "cpu") == choice.choose(torch.bfloat16, "mps") == (False, "")


def test_kernels_that_disagree_are_not_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    back = in_c.swiglu_back

    def off(*args: Tensor, **how: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        of_gate, *others = back(*args, **how)
        return of_gate.mul_(1.1), *others

    monkeypatch.setattr(in_c, "swiglu_back", off)
    can, why = choice.choose(torch.bfloat16, "cpu")
    assert not can
    assert why.endswith("ours in C don't agree with it (SwiGLU, SwiGLU and its matrix)")


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache that holds no kernel yet."""
    cached = (native.library, native.why_not, in_c.library)
    monkeypatch.setenv("HONED_CACHE", str(tmp_path / "cache"))
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_torch_does_the_work_and_attention_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert choice.choose(torch.float32, "cpu") == (False, "")


@pytest.mark.usefixtures("forgotten")
def test_a_source_that_does_not_compile_is_said_where_attention_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "elementwise.c"
    broken.write_text("#error no vectors here\n")
    monkeypatch.setattr(in_c, "SOURCE", broken)
    can, why = choice.choose(torch.float32, "cpu")
    assert not can and why.startswith("norms and SwiGLU by torch: the C compiler (")

"""Losses of rows on devices that lack what a CPU has."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from honed.models.chat import Encoded
from honed.models.losses import measure
from tests.models.test_local import tiny


class _NoFloat64(TorchFunctionMode):
    """As on Apple's GPU: only what was brought to the host can be made float64."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled = 0
        self._hosts: list[Any] = []

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.double:
            assert any(args[0] is one for one in self._hosts), "a float64 on the device"
            self.doubled += 1
        out = func(*args, **(kwargs or {}))
        if func is Tensor.cpu:
            out = out.view_as(out)
            self._hosts.append(out)
        return out


def test_losses_are_summed_in_float64_on_the_host_for_not_every_device_has_it() -> None:
    rows = {"a": Encoded((5, 6, 7), (0.0, 1.0, 1.0)), "b": Encoded((5, 8), (0.0, 1.0))}
    with _NoFloat64() as mode:
        (found,) = measure(tiny(), rows, 2)
    assert mode.doubled == 2 and [one.tokens for one in found.values()] == [1, 2]

"""What passes the packed engine computes, whichever way it computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from torch import Tensor

from honed.models.packed_forward import PackedForward
from honed.models.slots import Pass


@contextmanager
def before_each(see: Callable[[Pass], None]) -> Iterator[None]:
    """Call ``see`` before every pass of every packed model while it lasts; what it raises, the pass raises."""
    compute = PackedForward.__call__

    def seen(forward: PackedForward, work: Pass, wanted: Sequence[int]) -> Tensor:
        see(work)
        return compute(forward, work, wanted)

    with patch.object(PackedForward, "__call__", seen):
        yield

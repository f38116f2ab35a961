"""A running batch has as many rows as memory holds, never none."""

from __future__ import annotations

import pytest
import torch

from honed.models import room
from honed.models.engine import Sampling
from honed.models.room import rows_that_fit
from honed.models.row import make_row
from tests.models.test_local import tiny, unequal


@pytest.mark.parametrize(("free", "most", "fit"), [(10**12, 4, 4), (10**12, 99, 6), (0, 4, 1), ("three", 4, 3)])
def test_rows_are_as_many_as_half_of_the_free_memory_holds(
    monkeypatch: pytest.MonkeyPatch, free: int | str, most: int, fit: int
) -> None:
    loaded = tiny()
    rows = [make_row(loaded, prompt, Sampling(max_tokens=20)) for prompt in unequal(6)]
    config = loaded.model.config
    token = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    if free == "three":
        free = 2 * 3 * token * max(len(row.ids) + 20 for row in rows)
    monkeypatch.setattr(room, "_free", lambda _device: free)
    assert rows_that_fit(loaded, rows, most) == fit


def test_what_torch_keeps_on_a_gpu_of_freed_memory_is_free_for_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 80)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 30)
    assert room._free(torch.device("cuda")) == 60

"""How surprised a model is by rows: nats over their supervised tokens, the same whatever rows share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import torch

from honed.models.chat import Encoded
from honed.models.load import LoadedModel
from honed.models.positions import apart_beyond

_BATCH_BYTES = 512 * 1024 * 1024
"""Bytes of fp32 logits held at a time, at most (a single row may exceed it)."""


class Nats(NamedTuple):
    """The loss summed over a row's supervised tokens, how many they are, and whether each is the model's likeliest."""

    nats: float
    tokens: int
    greedy: bool


def measure(loaded: LoadedModel, encoded: Mapping[str, Encoded], batch_size: int) -> Iterator[dict[str, Nats]]:
    """Yield the losses of the rows, a batch at a time, the shortest rows first; every supervised token counts once.

    Rows are padded on the right, behind everything that they can attend to, and the model's own head is asked for
    the supervised positions only. A row so long that it changes the positions of all in its batch is in none with
    shorter ones. Numbers are those of the model's precision, summed in float64.
    """
    vocabulary, end = int(loaded.model.get_input_embeddings().weight.shape[0]), apart_beyond(loaded.model.config)
    far = {name: row for name, row in encoded.items() if end is not None and _width(row) > end}
    near = {name: row for name, row in encoded.items() if name not in far}
    for names in chain(_batches(near, batch_size, vocabulary), _batches(far, batch_size, vocabulary)):
        yield _batch(loaded, {name: encoded[name] for name in names})


def _batches(encoded: Mapping[str, Encoded], batch_size: int, vocabulary: int) -> Iterator[list[str]]:
    batch: list[str] = []
    kept: set[int] = set()
    for name in sorted(encoded, key=lambda name: (len(encoded[name].ids), name)):
        wider = kept | set(_positions(encoded[name]))
        too_big = 4 * vocabulary * len(wider) * (len(batch) + 1) > _BATCH_BYTES
        if batch and (len(batch) == batch_size or too_big):
            yield batch
            batch, wider = [], set(_positions(encoded[name]))
        batch.append(name)
        kept = wider
    if batch:
        yield batch


@torch.inference_mode()
def _batch(loaded: LoadedModel, rows: Mapping[str, Encoded]) -> dict[str, Nats]:
    model: Any = loaded.model
    width = max(map(_width, rows.values()))
    ids = torch.full((len(rows), width), loaded.chat.pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for place, row in enumerate(rows.values()):
        ids[place, : _width(row)] = torch.tensor(row.ids[:-1])
        mask[place, : _width(row)] = 1
    kept = sorted({position for row in rows.values() for position in _positions(row)})
    column = {position: number for number, position in enumerate(kept)}
    logits = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        use_cache=False,
        logits_to_keep=torch.tensor(kept, device=model.device),
    ).logits
    found = {}
    for place, (name, row) in enumerate(rows.items()):
        positions = _positions(row)
        scores = logits[place, [column[position] for position in positions]].float()
        targets = torch.tensor([row.ids[position + 1] for position in positions], device=scores.device)
        nll = torch.nn.functional.cross_entropy(scores, targets, reduction="none").cpu().double()  # MPS has none
        greedy = bool((scores.argmax(-1) == targets).all())
        found[name] = Nats(float(nll.sum()), len(positions), greedy)
    return found


def _width(row: Encoded) -> int:
    """The tokens that go through the model: nothing is predicted from the last one."""
    return len(row.ids) - 1


def _positions(row: Encoded) -> list[int]:
    """The positions whose logits predict a supervised token: each one before it."""
    return [place - 1 for place, weight in enumerate(row.weights) if weight > 0]

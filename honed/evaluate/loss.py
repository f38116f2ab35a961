"""Held-out loss: each row's nats over its supervised tokens, the same whatever rows share a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from honed.evaluate.outcome import LeftOut, RowLoss
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.models.load import LoadedModel
from honed.records import Conversation

_BATCH_BYTES = 512 * 1024 * 1024
"""Bytes of fp32 logits held at a time, at most (a single row may exceed it)."""


def encode(
    rows: Sequence[Conversation], chat: ChatFormat, context: int
) -> tuple[dict[str, Encoded], tuple[LeftOut, ...]]:
    """Return each row's ids and weights by its id, and the rows that can't have a loss, each with its reason."""
    encoded: dict[str, Encoded] = {}
    left_out: list[LeftOut] = []
    for row in rows:
        try:
            one = chat.encode(row)
            if len(one.ids) > context:
                raise Unusable("too long", f"it has {len(one.ids)} tokens, and the model's context is {context}")
        except Unusable as error:
            left_out.append(LeftOut(row=row.id, kind=error.kind, why=error.message))
            continue
        encoded[row.id] = one
    return encoded, tuple(left_out)


def measure(loaded: LoadedModel, encoded: Mapping[str, Encoded], batch_size: int) -> Iterator[list[RowLoss]]:
    """Yield the losses of the rows, a batch at a time, the shortest rows first.

    Rows are padded on the right, behind everything that they can attend to, and the model's own head is asked for
    the supervised positions only. Numbers are those of the model's precision, summed in float64.
    """
    for names in _batches(encoded, batch_size, int(loaded.model.get_input_embeddings().weight.shape[0])):
        yield _batch(loaded, {name: encoded[name] for name in names})


def per_token(lines: Sequence[RowLoss]) -> float | None:
    """Return nats per supervised token: one sum over one sum, so batches play no part; None without any row."""
    tokens = sum(line.tokens for line in lines)
    return sum(line.nats for line in lines) / tokens if tokens else None


def size(encoded: Encoded, chat: ChatFormat) -> int:
    """Return the bytes (UTF-8) of the text that a row's supervised tokens spell, special tokens aside."""
    pairs = zip(encoded.ids, encoded.weights, strict=True)
    return len(chat.decode(token for token, weight in pairs if weight > 0).encode())


def bits_per_byte(lines: Sequence[RowLoss]) -> float | None:
    """Return the loss in bits for each byte of supervised text; None without any text.

    The stop tokens' loss counts, their text doesn't. Unlike a loss per token it can be compared between tokenizers:
    L. Gao and others, "The Pile: An 800GB Dataset of Diverse Text for Language Modeling" (2020), section 3.1.
    """
    size = sum(line.bytes for line in lines)
    return sum(line.nats for line in lines) / math.log(2) / size if size else None


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
def _batch(loaded: LoadedModel, rows: Mapping[str, Encoded]) -> list[RowLoss]:
    model: Any = loaded.model
    width = max(len(row.ids) for row in rows.values())
    ids = torch.full((len(rows), width), loaded.chat.pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for place, row in enumerate(rows.values()):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        mask[place, : len(row.ids)] = 1
    kept = sorted({position for row in rows.values() for position in _positions(row)})
    column = {position: number for number, position in enumerate(kept)}
    logits = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        use_cache=False,
        logits_to_keep=torch.tensor(kept, device=model.device),
    ).logits
    found = []
    for place, (name, row) in enumerate(rows.items()):
        positions = _positions(row)
        scores = logits[place, [column[position] for position in positions]].float()
        targets = torch.tensor([row.ids[position + 1] for position in positions], device=scores.device)
        nll = torch.nn.functional.cross_entropy(scores, targets, reduction="none").double().cpu()
        found.append(RowLoss(row=name, nats=float(nll.sum()), tokens=len(positions)))
    return found


def _positions(row: Encoded) -> list[int]:
    """The positions whose logits predict a supervised token: each one before it."""
    return [place - 1 for place, weight in enumerate(row.weights) if weight > 0]

"""Texts as vectors: the mean of a model's last hidden states over each text's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honed.models.load import LoadedModel

Vectors = NDArray[np.float32]


def pooled(
    loaded: LoadedModel, texts: Sequence[str], *, most: int = 256, batch_tokens: int = 8192, late: bool = False
) -> Vectors:
    """Return a vector for each text, shape (texts, hidden size), float32, not normalised; zeros for an empty text.

    Only the first ``most`` tokens of a text count. Texts of about the same length go through the model together, so
    that little is padding; padding takes no part in the mean. ``late`` gives the n-th token the weight n, since each
    state of a causal model knows only what came before it (N. Muennighoff, "SGPT", 2022, section 3).
    """
    import torch

    texts_ids = [loaded.chat.tokenizer(text, add_special_tokens=False)["input_ids"][:most] for text in texts]
    inner: Any = loaded.model.base_model
    found = np.zeros((len(texts), int(loaded.model.config.get_text_config().hidden_size)), np.float32)
    with torch.inference_mode():
        for places in _batches([len(ids) for ids in texts_ids], batch_tokens):
            width = len(texts_ids[places[-1]])
            ids = torch.full((len(places), width), loaded.chat.pad_id)
            mask = torch.zeros((len(places), width), dtype=torch.long)
            for line, place in enumerate(places):
                ids[line, : len(texts_ids[place])] = torch.tensor(texts_ids[place])
                mask[line, : len(texts_ids[place])] = 1
            device = loaded.model.device
            states = inner(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float()
            weights = (mask.cumsum(1) * mask if late else mask).to(device).unsqueeze(-1).float()
            found[places] = ((states * weights).sum(1) / weights.sum(1)).cpu().numpy()
    return found


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield places of texts, the shortest first, so that a batch padded to its last holds ``batch_tokens`` at most."""
    batch: list[int] = []
    for place in sorted((place for place, length in enumerate(lengths) if length), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

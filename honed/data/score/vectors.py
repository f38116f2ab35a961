"""Rows as vectors: the base model's pooled states, kept by content."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from honed.data.score.config import Measuring
from honed.data.score.kept import Kept
from honed.data.score.watch import Watch
from honed.models.load import LoadedModel

Vectors = NDArray[np.float32]

_CHUNK = 256


def measure(
    texts: Mapping[str, str], loaded: LoadedModel, kept: Kept, measuring: Measuring, *, late: bool, watch: Watch
) -> None:
    """Pool the states of texts, by row id, and keep them; ``late`` as in ``models.pooled``.

    As many texts go through the model together as have the tokens of ``batch_size`` whole ones.
    """
    from honed.models.pooled import pooled

    most, batch_tokens = measuring.tokens, measuring.batch_size * measuring.tokens
    order = sorted(texts, key=lambda name: (len(texts[name]), name))  # alike lengths go through the model together
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        watch.step("read by the model", start, len(order))
        said = [texts[name] for name in chunk]
        kept.add(chunk, pooled(loaded, said, most=most, batch_tokens=batch_tokens, late=late))
    if order:
        watch.step("read by the model", len(order), len(order))


def centred(vectors: Vectors, middle: Vectors | None = None) -> Vectors:
    """Return vectors of length 1, less their mean (or ``middle``).

    States of language models share a large common part: K. Ethayarajh, "How Contextual are Contextualized Word
    Representations?" (2019).
    """
    if not len(vectors):
        return vectors
    moved = vectors - (vectors.mean(axis=0) if middle is None else middle)
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12), np.float32)

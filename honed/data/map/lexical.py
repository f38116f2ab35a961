"""Instructions as vectors without a model: their weighted words, in as many dimensions as there are themes.

Words weighted by how rare they are, rows of length 1, and the strongest directions of that matrix: latent semantic
indexing, S. Deerwester et al., "Indexing by Latent Semantic Analysis" (1990). The directions are found by seeded random
projections: N. Halko, P. Martinsson, J. Tropp, "Finding Structure with Randomness" (2011), algorithm 4.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from honed.data.score.vectors import Vectors

_DIMENSIONS = 48
_OVERSAMPLED = 12
_PASSES = 3
_MOST_WORDS = 40_000
_COMMON = 0.8
"""A word that more than this share of the rows has tells none of them from the others."""


class Lexicon:
    """The words of some texts and the strongest directions among them: fitted once, then read with."""

    def __init__(self, texts: Sequence[Sequence[str]], seed: int) -> None:
        counts = Counter(chain.from_iterable(map(set, texts)))
        most = max(2.0, _COMMON * len(texts))
        known = [word for word, count in counts.most_common() if 2 <= count <= most][:_MOST_WORDS]
        self._column = {word: at for at, word in enumerate(known)}
        self._rare = np.log(len(texts) / np.array([counts[word] for word in known], np.float64)).astype(np.float32)
        matrix = self._matrix(texts)
        wide = min(_DIMENSIONS + _OVERSAMPLED, *matrix.shape)
        found = np.random.default_rng(seed).standard_normal((matrix.shape[1], wide), np.float32)
        for _ in range(_PASSES):
            found = matrix.T @ np.linalg.qr(matrix @ found)[0]
        _, _, directions = np.linalg.svd(np.linalg.qr(matrix @ found)[0].T @ matrix, full_matrices=False)
        self._directions: Vectors = np.ascontiguousarray(directions[:_DIMENSIONS].T, np.float32)

    def read(self, texts: Sequence[Sequence[str]]) -> Vectors:
        """Return a vector of length 1 for each text; zeros for one without a known word."""
        found = self._matrix(texts) @ self._directions
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), np.float32)

    def _matrix(self, texts: Sequence[Sequence[str]]) -> csr_array:
        places: list[int] = []
        values: list[float] = []
        ends = [0]
        for text in texts:
            here = Counter(self._column[word] for word in text if word in self._column)
            places += here
            values += [1 + np.log(count) for count in here.values()]
            ends.append(len(places))
        where: NDArray[np.int64] = np.array(places, np.int64)
        weights = np.array(values, np.float32) * self._rare[where]
        made = csr_array((weights, where, np.array(ends)), shape=(len(texts), max(1, len(self._rare))))
        norms = np.sqrt(np.asarray(made.multiply(made).sum(axis=1))).ravel()
        scale = np.repeat(1 / np.maximum(norms, 1e-9), np.diff(ends)).astype(np.float32)
        return csr_array((weights * scale, where, np.array(ends)), shape=made.shape)

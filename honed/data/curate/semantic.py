"""Semantic duplicates: rows that mean about the same in other words, by the base model's own pooled states.

The mean last hidden states of the rows, less their mean over all rows (states of language models share a large common
part: Ethayarajh, "How Contextual are Contextualized Word Representations?", 2019), are compared by their cosine, block
by block. The cost grows with the square of the rows: 100,000 rows are 5 * 10^9 pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from honed.config import Config
from honed.data.curate.exact import rank
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View
from honed.store.workspace import Workspace

Vectors = NDArray[np.float32]

_TEXTS = 1024
_BLOCK = 1024


class Semantic(Config):
    """Settings of the step ``semantic``."""

    model: str | None = Field(default=None, description="the base model whose hidden states tell what rows mean")
    threshold: float = Field(default=0.95, gt=0, le=1, description="least cosine of two rows' centred, pooled states")
    tokens: int = Field(default=256, ge=8, description="tokens of a row that are read, from its beginning")
    action: Literal["drop", "report"] = Field(default="report", description="what is done about all but the best row")


def semantic(view: View, settings: Semantic, say: Callable[[str], None]) -> Iterator[Finding]:
    """Report or drop the rows that are about the same as a better one (``exact.rank``)."""
    from honed.models.load import load
    from honed.models.pooled import pooled

    assert settings.model is not None  # the recipe is refused without one
    loaded = load(settings.model, Workspace(view.dataset.path.parents[2]))
    told: list[tuple[tuple[bool, int, int], str, str]] = []
    vectors: list[Vectors] = [np.empty((0, int(loaded.model.config.get_text_config().hidden_size)), np.float32)]
    batch: list[Row] = []

    def read() -> None:
        told.extend((rank(row), row.id, row.tools) for row in batch)
        vectors.append(pooled(loaded, ["\n".join([*row.prompts(), row.answer]) for row in batch], most=settings.tokens))
        batch.clear()

    for row in view.rows():
        batch.append(row)
        if len(batch) == _TEXTS:
            read()
    if batch:
        read()
    say(f"{len(told):,} rows read by {loaded.ref}, {settings.tokens} tokens of each at most")
    order = sorted(range(len(told)), key=lambda place: told[place][0])
    tools = [told[place][2] for place in order]
    for place, beside, cosine in _alike(np.concatenate(vectors)[order], tools, settings.threshold):
        (_, _, number), id_, _ = told[order[place]]
        other = told[order[beside]][1]
        what = f"its meaning is about that of row {other}: cosine {cosine:.3f}"
        yield Finding(number, id_, "semantic duplicate", settings.action, what, other)


def _alike(vectors: Vectors, tools: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield each row that is like an earlier one that stays, and that one; what was like another isn't compared to.

    Rows with other ``tools`` are not alike, whatever they say.
    """
    centred = vectors - vectors.mean(axis=0) if len(vectors) else vectors
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    stays = np.ones(len(unit), bool)
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK]
        for before in range(0, start + 1, _BLOCK):
            cosines = block @ unit[before : before + _BLOCK].T
            for line in np.flatnonzero((cosines >= threshold).any(axis=1)).tolist():
                place = start + line
                near = [
                    before + at for at in np.flatnonzero(cosines[line] >= threshold).tolist() if before + at < place
                ]
                first = next((one for one in near if stays[one] and tools[one] == tools[place]), None)
                if stays[place] and first is not None:
                    stays[place] = False
                    yield place, first, float(cosines[line, first - before])

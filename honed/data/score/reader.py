"""The base model as a reader of rows: loaded when the first row has to be read, and never if all was read before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from honed.data.score import vectors
from honed.data.score.config import Measuring
from honed.data.score.kept import Kept
from honed.data.score.vectors import Vectors
from honed.data.score.watch import Watch
from honed.models.chat import ChatFormat
from honed.models.load import LoadedModel
from honed.records import Conversation, Split, digest
from honed.store import artifacts, datasets


class Reader:
    """What the settings' model makes of texts; ``Kept`` remembers it."""

    def __init__(self, measure: Measuring, watch: Watch) -> None:
        self._measure, self._watch = measure, watch

    @cached_property
    def model(self) -> LoadedModel:
        """The model in memory. Raises ``ModelError`` if it, or its device, isn't there."""
        import torch

        from honed.models import devices, load

        device = devices.choose_device(self._measure.device)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[self._measure.precision]
        return load.load(self._located.ref, self._watch.job.workspace, dtype=dtype, device=device)

    @cached_property
    def chat(self) -> ChatFormat:
        """The model's chat format, without its weights."""
        from honed.models import load

        return load.load_chat(self._located.ref, self._watch.job.workspace)

    @cached_property
    def _located(self) -> Any:
        from honed.models import load

        assert self._measure.model is not None, "checked before the job was made"
        return load.locate(self._measure.model, self._watch.job.workspace, say=self._watch.note)

    def kept(self, kind: str, **settings: Any) -> Kept:
        """Return what is kept of one kind of reading, by this model's content and these settings."""
        key = {"model": self._located.hash, "precision": self._measure.precision, **settings}
        return Kept(self._watch.job.workspace, kind, key)

    def states(self, texts: Mapping[str, str], of: str, *, late: bool = False) -> Vectors:
        """Return the pooled states of texts by row id, shape (texts, hidden size); ``of`` says which part of a row."""
        tokens = self._measure.tokens
        kept = self.kept("states", tokens=tokens, late=late, of=of)
        known = kept.read()
        if todo := {name: text for name, text in texts.items() if name not in known}:
            vectors.measure(todo, self.model, kept, self._measure, late=late, watch=self._watch)
            known = kept.read()
        return np.stack([known[name] for name in texts])


def targeted(measure: Measuring, watch: Watch) -> list[Conversation]:
    """Return the rows of the target that are read: held-out ones if it has any, as many as are wanted, by hash."""
    assert measure.target is not None, "checked before the job was made"
    dataset = artifacts.resolve(watch.job.workspace, "datasets", measure.target)
    split: Split = "heldout" if dataset.manifest.facts["heldout"] else "train"
    found = sorted(datasets.rows(dataset, split), key=lambda row: digest(["target", row.id]))
    chosen = found[: measure.target_rows]
    watch.note(f"target: {len(chosen):,} of {len(found):,} {split} rows of {dataset.ref}")
    return chosen

"""Read the embedded instruction set out of the installed package."""

from __future__ import annotations

import gzip
from importlib import resources

from honed.records import Conversation, Split


def load(split: Split) -> list[Conversation]:
    """Return the rows of ``split`` (``train`` or ``heldout``) in their stored order."""
    data = resources.files("honed.builtin").joinpath("rows", f"{split}.jsonl.gz").read_bytes()
    return [Conversation.model_validate_json(line) for line in gzip.decompress(data).decode().splitlines()]

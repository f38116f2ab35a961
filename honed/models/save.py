"""Writing a model and its chat format as a plain Hugging Face folder: safetensors, settings, tokenizer, template."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from honed.models.chat import ChatFormat
from honed.models.quiet import quiet
from honed.store.workspace import writing

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save(model: PreTrainedModel, chat: ChatFormat, folder: Path) -> None:
    """Write ``model`` and ``chat`` into ``folder``, so that ``load`` gives the same logits and the same chat hash.

    Weights keep their dtype, tied embeddings stay tied, and other tools find the template and stop ids where they
    look for them. Raises ``StoreError`` if the folder can't be written.
    """
    from transformers import GenerationConfig

    tokenizer = copy.copy(chat.tokenizer)
    tokenizer.chat_template = chat.template
    stated = model.generation_config
    # A fresh one: what a base model's authors preferred for sampling was not measured on the tuned model.
    model.generation_config = GenerationConfig(eos_token_id=sorted(chat.stop_ids), pad_token_id=chat.pad_id)
    try:
        with quiet(), writing(folder), os_errors():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    finally:
        model.generation_config = stated


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise what the system said of a write to a safetensors file as the ``OSError`` that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), str(error)) from error
        raise

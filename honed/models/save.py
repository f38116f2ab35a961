"""Writing a model and its chat format as a plain Hugging Face folder: safetensors, settings, tokenizer, template."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from honed.errors import ModelError
from honed.models.chat import ChatFormat
from honed.models.load import chat_in
from honed.models.quiet import quiet
from honed.store.workspace import write_whole, writing

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save(model: PreTrainedModel, chat: ChatFormat, folder: Path) -> None:
    """Write ``model`` and ``chat`` into ``folder``, so that ``load`` gives the same logits and the same chat hash.

    Weights keep their dtype, tied embeddings stay tied, and other tools find the template and stop ids where they
    look for them. Raises ``StoreError`` if the folder can't be written, ``ModelError`` if it can't give the chat hash.
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
            # A file of its own would be read with other line ends than a template has that was written on Windows.
            tokenizer.save_pretrained(folder, save_jinja_files="\r" not in chat.template)
    finally:
        model.generation_config = stated
    _keep(chat, folder)


def _keep(chat: ChatFormat, folder: Path) -> None:
    """Have ``folder`` give the chat format that was trained with, or raise ``ModelError``.

    Some classes of tokenizers make theirs from settings which they don't all write (Llama's ``legacy``), whatever
    tokenizer.json says. The general one takes that file as it is; by this name transformers 4 knows it, too.
    """
    if chat_in(folder).hash == chat.hash:
        return
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    with writing(folder):
        write_whole(path, json.dumps(stated, indent=2, ensure_ascii=False) + "\n")
    if (now := chat_in(folder).hash) != chat.hash:
        raise ModelError(
            f"the base's tokenizer, saved and read again, gives another chat format ({now}) than before ({chat.hash})",
            "Set tokenizer_class to PreTrainedTokenizerFast in the base's tokenizer_config.json, and train anew.",
        )


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

"""Writing a model and its chat format as a plain Hugging Face folder: safetensors, settings, tokenizer, template."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.errors import ModelError
from honed.models.chat import ChatFormat
from honed.models.load import chat_in
from honed.models.quiet import quiet
from honed.store.workspace import write_whole, writing

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel


def save(model: PreTrainedModel, chat: ChatFormat, folder: Path) -> None:
    """Write ``model`` and ``chat`` into ``folder``, so that ``load`` gives the same logits and the same chat hash.

    Weights keep their dtype, tied embeddings stay tied, and other tools find the template and stop ids where they
    look for them. Raises ``StoreError`` if the folder can't be written, ``ModelError`` if it can't give the chat hash.
    """
    stated = model.generation_config
    model.generation_config = _generation(chat)
    try:
        with quiet(), writing(folder), os_errors():
            model.save_pretrained(folder)
    finally:
        model.generation_config = stated
    _save_chat(chat, folder)


def check(model: PreTrainedModel, chat: ChatFormat, folder: Path) -> None:
    """Save all but the weights into a folder of its own in ``folder``, and delete it; raises as ``save`` does.

    So that what can't be published is known before it is trained.
    """
    with writing(folder), tempfile.TemporaryDirectory(prefix=".chat-", dir=folder) as scratch:
        with quiet():
            model.config.save_pretrained(scratch)
            _generation(chat).save_pretrained(scratch)
        _save_chat(chat, Path(scratch))


def _generation(chat: ChatFormat) -> GenerationConfig:
    """A fresh one: what a base model's authors preferred for sampling was not measured on the tuned model."""
    from transformers import GenerationConfig

    return GenerationConfig(eos_token_id=sorted(chat.stop_ids), pad_token_id=chat.pad_id)


def _save_chat(chat: ChatFormat, folder: Path) -> None:
    tokenizer = copy.copy(chat.tokenizer)
    tokenizer.chat_template = chat.template
    with quiet(), writing(folder):
        # A file of its own would be read with other line ends than a template has that was written on Windows.
        tokenizer.save_pretrained(folder, save_jinja_files="\r" not in chat.template)
    _for_older(folder)
    _keep(chat, folder)


def _for_older(folder: Path) -> None:
    """Say also in the words of transformers 4, and of what is built on it, where positions turn and what reads tokens.

    It doesn't know ``rope_parameters`` and would take its own base for positions, without a word; nor would it find the
    general tokenizer under its new name. What transformers 5 itself would read otherwise then is left as it was.
    """
    path = folder / "config.json"
    settings, before = json.loads(path.read_text()), _read(folder)
    for said in _ropes(settings):
        _write(path, {**said, **settings})
        with suppress(Exception):  # a check of its own that such words don't pass
            if _read(folder) == before:
                break
        _write(path, settings)
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text())
    if isinstance(stated.get("extra_special_tokens"), list):
        stated["additional_special_tokens"] = stated.pop("extra_special_tokens")
    if stated.get("tokenizer_class") == "TokenizersBackend":
        stated["tokenizer_class"] = _GENERAL
    _write(path, stated)


def _read(folder: Path) -> dict[str, Any]:
    """What transformers makes of a model's settings, but for words that only older ones read."""
    from transformers import AutoConfig

    with quiet():
        read: dict[str, Any] = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).to_dict()
    return {key: value for key, value in read.items() if key not in _OLD}


_OLD = ("rope_theta", "rope_scaling", "partial_rotary_factor", "rotary_emb_base", "rotary_pct")


def _ropes(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what transformers 4 reads of positions: all of it, then only what isn't scaling, or nothing.

    One for each type of layer (Gemma 3) has other words in each model: nothing is said of those.
    """
    rope, kind = settings.get("rope_parameters") or {}, str(settings.get("model_type"))
    if "rope_theta" not in rope:
        return
    base = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    if kind.startswith("gpt_neox"):
        names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        base |= {names[key]: value for key, value in base.items()}
    scaling = {key: value for key, value in rope.items() if key not in base and key in _SCALING.get(kind, rope)}
    if rope.get("rope_type", "default") != "default":
        yield {**base, "rope_scaling": scaling}
    yield base


_SCALING = {
    **dict.fromkeys(("phi3", "phi4_multimodal"), ("type", "short_factor", "long_factor")),
    **dict.fromkeys(("olmo", "olmo2"), ("type", "factor")),
}
"""What these models' settings take of a scaling in transformers 4, where any other word is an error."""


_GENERAL = "PreTrainedTokenizerFast"
"""The tokenizer that takes tokenizer.json as it is, by the name that transformers 4 knows as well."""


def _write(path: Path, settings: dict[str, Any]) -> None:
    with writing(path.parent):
        write_whole(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def copy_chat(folder: Path, beside: Path) -> None:
    """Copy the tokenizer and the template of a model that was saved in ``folder``, for who takes ``beside`` alone."""
    with writing(beside):
        for path in (*folder.glob("tokenizer*"), *folder.glob("chat_template*")):
            shutil.copyfile(path, beside / path.name)


def _keep(chat: ChatFormat, folder: Path) -> None:
    """Have ``folder`` give the chat format that was trained with, or raise ``ModelError``.

    Some classes of tokenizers make theirs from settings which they don't all write (Llama's ``legacy``), whatever
    tokenizer.json says.
    """
    if chat_in(folder).hash == chat.hash:
        return
    path = folder / "tokenizer_config.json"
    _write(path, json.loads(path.read_text()) | {"tokenizer_class": _GENERAL})
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

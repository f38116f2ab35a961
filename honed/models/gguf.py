"""GGUF files: de-quantized once into the cache, as a plain folder of safetensors, tokenizer and chat template."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from honed.errors import ModelError
from honed.models import cache, gguf_llama
from honed.models.quiet import quiet
from honed.store.artifacts import sync_tree
from honed.store.workspace import writing

_MAGIC = b"GGUF"


def folder_of(sha256: str) -> Path:
    """Return where the de-quantized copy of the GGUF file with this hash is kept; it may not be there yet."""
    return cache.home() / "gguf" / sha256[:16]


def dequantized(file: Path, say: Callable[[str], None]) -> tuple[Path, str]:
    """Return the folder of the de-quantized copy of ``file`` and the file's SHA-256, making the copy if need be.

    Weights are float32, so nothing is lost beyond what quantization lost. Two processes that want the same file make
    one copy. Raises ``ModelError`` for a damaged file or an architecture that transformers can't read from GGUF.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such file", "Check the path of the GGUF file.")
    with file.open("rb") as opened:
        if opened.read(4) != _MAGIC:
            raise ModelError(f"{file}: not a GGUF file, or a damaged one", "Fetch the file again.")
    sha256 = cache.file_hash(file)
    folder = folder_of(sha256)
    if folder.is_dir():
        return folder, sha256
    with cache.locked(f"gguf/{sha256[:16]}"):
        if not folder.is_dir():  # another process may have made it while this one waited
            say(f"de-quantizing {file.name} into {folder} (once)")
            _make(file, folder)
    return folder, sha256


def _make(file: Path, folder: Path) -> None:
    with writing(folder):
        scratch = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
        try:
            _convert(file, scratch)
            sync_tree(scratch)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _convert(file: Path, scratch: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    try:
        with quiet():
            if not gguf_llama.convert(file, scratch):
                _convert_any(file, scratch)
            PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(scratch)
    except (ValueError, KeyError, IndexError, TypeError, NotImplementedError, struct.error) as error:
        raise ModelError(
            f"{file}: can't be read as a GGUF model: {str(error).splitlines()[0] if str(error) else 'damaged'}",
            "Fetch the file again, or use the model's safetensors folder instead.",
        ) from error


def _convert_any(file: Path, scratch: Path) -> None:
    """Let transformers read the file: it knows many architectures, and parses the vocabulary several times over."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # What is in memory is plain float32 now; transformers won't save it while it calls itself quantized.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(scratch)

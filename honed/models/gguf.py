"""GGUF files: de-quantized once into the cache, as a plain folder of safetensors, tokenizer and chat template."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from honed.errors import ModelError, first_line
from honed.models import cache, gguf_llama
from honed.models.gguf_llama import File
from honed.models.quiet import quiet
from honed.store.artifacts import sync_tree
from honed.store.workspace import writing

_MAGIC = b"GGUF"
_ALONE = "model.gguf"
_FORM = 2


def folder_of(sha256: str) -> Path:
    """Return where the de-quantized copy of the GGUF file with this hash is kept; it may not be there yet.

    Copies of other forms aren't read: those of before may lack what a file is refused for now.
    """
    return cache.home() / "gguf" / f"{sha256[:16]}-{_FORM}"


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
        content = gguf_llama.read(file)
        _check_rope(file, content)
        # From a folder with nothing else in it: transformers would take a tokenizer or an adapter that lies beside.
        with quiet(), tempfile.TemporaryDirectory() as alone:
            Path(alone, _ALONE).symlink_to(file)
            if not gguf_llama.convert(content, scratch):
                _convert_any(file, Path(alone), content, scratch)
            PreTrainedTokenizerFast.from_pretrained(alone, gguf_file=_ALONE).save_pretrained(scratch)
    except (ValueError, KeyError, IndexError, TypeError, NotImplementedError, struct.error) as error:
        raise ModelError(
            f"{file}: can't be read as a GGUF model: {first_line(error)}",
            "Fetch the file again, or use the model's safetensors folder instead.",
        ) from error


def _check_rope(file: Path, content: File) -> None:
    """Raise ``ModelError`` if the positions are scaled, as in Llama 3.1 and later: transformers drops it silently.

    (Of gpt-oss it does read the scaling, but takes the length of each key for its value.)
    """
    facts, about = content.facts, f"{content.facts['general.architecture']}.rope"
    tensors = [tensor.name for tensor in content.tensors if tensor.name.startswith("rope_f")]
    kind = facts.get(f"{about}.scaling.type", "none")
    scaled = any(facts.get(f"{about}.{key}", 1.0) not in (0.0, 1.0) for key in ("scaling.factor", "scale_linear"))
    if tensors or kind != "none" or scaled:
        found = tensors[0] if tensors else f"{about}.scaling ({kind})"
        raise ModelError(
            f"{file}: its positions are scaled ({found}), which isn't read from GGUF: the model would be damaged",
            "Use the model's safetensors: a folder, or its hub id org/name.",
        )


def _convert_any(file: Path, alone: Path, content: File, scratch: Path) -> None:
    """Let transformers read the file: it knows many architectures, and parses the vocabulary several times over."""
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        alone, gguf_file=_ALONE, dtype=torch.float32, output_loading_info=True
    )
    biases = [tensor.name for tensor in content.tensors if tensor.name.endswith(".bias")]
    lost = [] if any(name.endswith("bias") for name in model.state_dict()) else biases
    if wrong := sorted(report["missing_keys"]) or lost:
        raise ModelError(
            f"{file}: transformers can't read all of it: {len(wrong)} weights are lost, the first is {wrong[0]}",
            "Use the model's safetensors: a folder, or its hub id org/name.",
        )
    # What is in memory is plain float32 now; transformers won't save it while it calls itself quantized.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(scratch)

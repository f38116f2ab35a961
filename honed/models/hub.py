"""Models of the Hugging Face hub: what its cache holds, and fetching safetensors and tokenizer files, never pickles."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from honed.errors import ModelError, StoreError
from honed.models.cache import MODEL_FILES, OTHER_WEIGHTS, TOKENIZERS, of_other_weights

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_IGNORED = ["*/*", *OTHER_WEIGHTS]
"""Folders inside a repository hold other formats of the same weights, too."""


def is_id(spec: str) -> bool:
    """Whether ``spec`` has the form of a hub id, ``org/name``."""
    return _ID.fullmatch(spec) is not None


def offline() -> bool:
    """Whether the user turned the hub off (``HF_HUB_OFFLINE=1``)."""
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


def reachable(repo: str, seconds: float) -> bool:
    """Whether the hub answers for ``repo``. The name look-up isn't bounded by ``seconds``."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(repo, timeout=seconds)
    except Exception:  # noqa: BLE001 - whatever the reason, the answer is no
        return False
    return True


def cached(repo: str, *, weights: bool = True) -> Path | None:
    """Return the folder of ``repo`` in the hub's cache if it is whole there, without asking the network."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(repo, allow_patterns=list(MODEL_FILES), ignore_patterns=_IGNORED, local_files_only=True)
        )
    except (OSError, ValueError):
        return None
    return folder if _whole(folder, weights) else None


def fetch(repo: str, say: Callable[[str], None], *, weights: bool = True) -> Path:
    """Return the folder of ``repo``, downloading it unless the hub's cache has it.

    A copy in the cache is used as it is, so a base model doesn't change between two commands. Without ``weights``
    only the tokenizer and settings are fetched. Raises ``ModelError`` if the hub is off, can't be reached or
    hasn't got the model.
    """
    if (folder := cached(repo, weights=weights)) is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if offline():
        raise ModelError(
            f"{repo}: there is no such folder, and the hub is off (HF_HUB_OFFLINE)",
            "Unset HF_HUB_OFFLINE, or name a local folder or smollm2-135m.",
        )
    say(f"fetching {repo} from the hub")
    patterns = [pattern for pattern in MODEL_FILES if weights or "safetensors" not in pattern]
    try:
        return Path(snapshot_download(repo, allow_patterns=patterns, ignore_patterns=_IGNORED))
    except GatedRepoError as error:
        raise ModelError(f"{repo}: the hub asks for a login", "Run: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{repo}: there is no such folder, and no such model on the hub", "Check the spelling of org/name."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise StoreError(
                f"{repo}: the hub's cache can't be written: {os.strerror(error.errno).lower()}",
                "Free space, or set HF_HOME to another folder.",
            ) from error
        raise ModelError(
            f"{repo}: there is no such folder, and the hub can't be reached",
            "Check the network, or name a local folder or smollm2-135m.",
        ) from error


def _whole(folder: Path, weights: bool) -> bool:
    if not (folder / "config.json").exists() or not any((folder / name).exists() for name in TOKENIZERS):
        return False
    if not weights:
        return True
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return all((folder / name).exists() for name in set(json.loads(index.read_text())["weight_map"].values()))
    return any(not of_other_weights(path.name) for path in folder.glob("*.safetensors"))

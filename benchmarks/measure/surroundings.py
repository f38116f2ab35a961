"""Where and with what a measurement was made: hardware, versions, commit."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import honed
from honed.models.devices import describe
from honed.version import __version__

HOME = Path(honed.__file__).parents[1]
"""Where the honed that runs comes from: with an editable install elsewhere, not the clone of this script."""


def surroundings() -> dict[str, Any]:
    """What belongs into every document."""
    machine = describe(HOME)
    assert machine.torch is not None
    return {
        "machine": {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "memory_bytes": machine.memory,
            "flags": list(machine.flags),
            "gpus": [gpu.name for gpu in machine.torch.gpus],
            "threads": machine.torch.threads,
        },
        "versions": {
            "python": platform.python_version(),
            "honed": __version__,
            "torch": machine.torch.version,
            "transformers": metadata.version("transformers"),
        },
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", *sys.argv]),
    }


def _commit() -> str | None:
    """The commit of the honed that runs, with a remark if files differ from it; None where it isn't a clone."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HOME, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=HOME, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def say(text: str) -> None:
    """Tell the person who waits; stdout is for the document."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Any, *, compact: bool) -> None:
    """Print the document."""
    print(json.dumps(document, indent=None if compact else 2))

"""``honed doctor``: what this machine is, what will run on it, what is missing and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from honed import __version__
from honed.cli.options import emit_json, json_option
from honed.cli.tables import bytes_
from honed.errors import HonedError
from honed.store import workspace as workspaces

if TYPE_CHECKING:
    from honed.models.devices import Torch

_USABLE = 0.7
"""Share of the memory that weights and their optimizer may take; the rest is for activations and the program."""

_FULL_BYTES = 16.0
_LORA_BYTES = 4.0 + 0.02 * _FULL_BYTES
_MODEL_SPACE = 1e9
"""Bytes that the embedded model, a checkpoint and a tuned copy of it need on a disk."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``bad``: honed can't run; ``mend``: something is slower, smaller or not there."""

    what: str
    state: Literal["ok", "mend", "bad"]
    text: str
    cure: str = ""


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Say what this machine is, what will run on it, what is missing and how to mend it.

    Exits 0 unless honed can't run here.
    """
    marks = {"ok": "ok  ", "mend": "mend", "bad": "BAD "}
    findings = []
    for look in (_software, _torch, _machine, _places, _sources):
        for finding in look():
            findings.append(finding)
            if not as_json:
                click.echo(f"{marks[finding.state]}  {finding.what:<15} {finding.text}")
                click.echo("".join(f"      {'':<15} -> {finding.cure}\n" if finding.cure else ""), nl=False)
    able = all(finding.state != "bad" for finding in findings)
    if as_json:
        emit_json({"able": able, "findings": [asdict(finding) for finding in findings]})
    else:
        click.echo("\nhoned runs here. Try: honed demo" if able else "\nhoned can't run here until the BAD is mended.")
    if not able:
        raise click.exceptions.Exit(1)


def _software() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("honed", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    missing = []
    for line in importlib.metadata.requires("honed") or ():
        if "extra ==" in line:  # only those who want it install it
            continue
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("libraries", "bad", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        known = ("transformers", "tokenizers", "safetensors")
        yield Finding("libraries", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in known))
    if importlib.util.find_spec("pip"):
        yield Finding("pip", "ok", importlib.metadata.version("pip"))
    else:
        yield Finding("pip", "mend", "not here: the embedded model can't be fetched with it", "python -m ensurepip")


def _torch() -> Iterator[Finding]:
    """Say what torch is and sees, and which precision is faster here."""
    from honed.models import devices

    try:
        torch = devices.describe(Path.cwd()).torch
    except Exception as error:  # noqa: BLE001 - a broken build of torch fails at import in many ways
        yield Finding("torch", "bad", f"can't be loaded: {error}".splitlines()[0], "Install it anew: pip install torch")
        return
    if torch is None:
        return  # named among the missing libraries
    yield Finding("torch", "ok", f"{torch.version}, {torch.threads} threads")
    yield from _gpus(torch)
    device, _ = devices.choose_for_training("auto")
    precision, reason = devices.faster_precision(device)
    yield Finding("precision", "ok", f"{precision} trains faster ({reason})")


def _gpus(torch: Torch) -> Iterator[Finding]:
    for gpu in torch.gpus:
        yield Finding("GPU", "ok", f"{gpu.name}, {bytes_(gpu.memory)}")
        yield from _sizes(gpu.memory, "the GPU's memory")
    if torch.mps:
        yield Finding("GPU", "ok", "Apple's, which shares the machine's memory")
    if torch.gpus or torch.mps:
        return
    if shutil.which("nvidia-smi"):
        cure = "Install torch's CUDA build for this driver (in a checkout: make clean, then make setup TORCH=system)."
        yield Finding("GPU", "mend", f"there is one, but torch {torch.version} can't use it", cure)
    else:
        yield Finding("GPU", "ok", "none: everything runs on the CPU")


def _machine() -> Iterator[Finding]:
    """Say what the machine has, and how big a model its memory can train."""
    from honed.models import devices

    machine = devices.hardware(Path.cwd())
    speed = ", ".join(machine.flags) or "no vector extensions that matter here"
    yield Finding("CPU", "ok", f"{machine.cpu}, {machine.cores} cores ({speed})")
    free = f"{bytes_(machine.memory_free)} free of {bytes_(machine.memory)}"
    if machine.memory_free < 4e9:
        yield Finding("memory", "mend", free, "The demo takes up to 4 GB: close something first.")
    else:
        yield Finding("memory", "ok", free)
    yield from _sizes(machine.memory_free, "the free memory")


def _sizes(memory: int, whose: str) -> Iterator[Finding]:
    room, share = _USABLE * memory, f"{_USABLE:.0%} of {whose}"
    full = f"up to {_count(room / _FULL_BYTES)} parameters: {share} / 16 bytes (weights 4, gradients 4, Adam 8)"
    yield Finding("full training", "ok", full)
    lora = f"up to {_count(room / _LORA_BYTES)} parameters: {share} / {_LORA_BYTES:.1f} bytes (weights 4, 2 % adapters)"
    yield Finding("LoRA training", "ok", lora)


def _places() -> Iterator[Finding]:
    """Look at the two folders that honed writes to."""
    from honed.models import cache

    yield _space("cache", cache.home(), "HONED_CACHE")
    try:
        named = os.environ.get("HONED_WORKSPACE")
        workspace = workspaces.open_at(Path(named)) if named else workspaces.find(Path.cwd())
    except HonedError as error:
        yield Finding("workspace", "mend", error.message, error.hint)
        return
    yield _space("workspace", workspace.path, "--workspace")


def _space(what: str, folder: Path, setting: str) -> Finding:
    from honed.models import devices

    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Finding(what, "bad", f"{folder} can't be written", f"Choose another folder with {setting}.")
    free = devices.hardware(folder).disk_free
    if free < _MODEL_SPACE:
        return Finding(what, "mend", f"{folder}: {bytes_(free)} free", f"Free {bytes_(_MODEL_SPACE)} or set {setting}.")
    return Finding(what, "ok", f"{folder}: {bytes_(free)} free")


def _sources() -> Iterator[Finding]:
    """Say where models can come from: the cache, the hub, the package index."""
    from honed.models import embedded, gguf, hub

    if gguf.folder_of(embedded.GGUF_SHA256).is_dir() or hub.cached(embedded.HUB_ID):
        yield Finding(embedded.NAME, "ok", "the embedded model is in the cache")
    else:
        yield Finding(embedded.NAME, "ok", "not in the cache yet; fetched when it is first used (93 MB or more)")
    if hub.offline():
        yield Finding("model hub", "ok", "turned off (HF_HUB_OFFLINE)")
    elif embedded.hub_answers():
        yield Finding("model hub", "ok", "answers: hub ids can be used as base models")
    else:
        cure = "Use local folders, GGUF files or smollm2-135m as base; or check network and proxy."
        yield Finding("model hub", "mend", "doesn't answer: models can't be fetched by hub id", cure)


def _count(parameters: float) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"

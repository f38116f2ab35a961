"""The peer, TRL: an interpreter that has it, the ways in which it is tried, and what it says of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from honed.models import cache
from honed.records import Conversation, Preference
from measure.surroundings import say

PACKAGES = ("trl==1.16.0", "peft", "datasets")
SCRIPT = Path(__file__).parents[1] / "peers" / "trl_train.py"
LENGTH = 1024
"""Tokens of a pack, unless a row is longer."""

WORTH_TRYING = 0.5
"""bf16 is tried where its products reach this share of fp32's rate; below, it could only lose."""

_INSTALL_SECONDS = 900


class PeerError(Exception):
    """The peer can't be run here, and why."""


def interpreter(given: str | None) -> str:
    """Return a Python that has TRL: the one given, $HONED_PEER_PYTHON, this one, or a venv's in honed's cache.

    The venv is made with pip where it is missing; it sees this interpreter's packages, so torch isn't fetched again.
    Raises ``PeerError`` if none can be had.
    """
    for python in (given, os.environ.get("HONED_PEER_PYTHON")):
        if python:
            return python if _has_trl(python) else _missing(f"{python} can't import trl, peft and datasets")
    if all(find_spec(name) for name in ("trl", "peft", "datasets")):
        return sys.executable
    folder = cache.home() / "peers" / PACKAGES[0].replace("==", "-")
    python = str(folder / "bin" / "python")
    if not _has_trl(python):
        _make(folder, python)
    return python


def _missing(why: str) -> str:
    raise PeerError(why)


def _has_trl(python: str) -> bool:
    try:
        done = subprocess.run([python, "-c", "import trl, peft, datasets"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _make(folder: Path, python: str) -> None:
    say(f"Setting up {', '.join(PACKAGES)} in {folder}, once ...")
    venv.create(folder, system_site_packages=True, with_pip=True, clear=True)
    # A venv made from a venv sees the base interpreter's packages, not the venv's: torch is in the latter.
    inner = next(folder.glob("lib*/python*/site-packages"))
    (inner / "honed-benchmark.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"pip didn't finish within {_INSTALL_SECONDS} s") from error
    if done.returncode or not _has_trl(python):
        raise PeerError(f"TRL can't be installed: {(done.stderr.strip().splitlines() or ['no words'])[-1]}")


def sft_ways(lengths: Sequence[int], batch_tokens: int) -> dict[str, dict[str, Any]]:
    """Ways to train on rows of these lengths, none of which cuts a row, each with about ``batch_tokens`` a step."""
    longest = max(lengths)
    pack, short = max(LENGTH, longest), -(-longest // 64) * 64
    mean = sum(lengths) / len(lengths)
    several = max(1, round(batch_tokens / mean))
    ways: dict[str, dict[str, Any]] = {
        "packed": {"length": pack, "batch": max(1, batch_tokens // pack), "packing": True},
        "padded": {"length": pack, "batch": several, "grouped": True},
    }
    if batch_tokens >= 4 * pack:
        ways["packed, two packs a pass"] = {**ways["packed"], "batch": 2, "accumulate": batch_tokens // (2 * pack)}
    if short < pack:
        ways["packed, as short as rows allow"] = {
            "length": short,
            "batch": max(1, batch_tokens // short),
            "packing": True,
        }
        if batch_tokens >= 4 * short:
            passes = {"batch": 2, "accumulate": batch_tokens // (2 * short)}
            ways["packed, two short packs a pass"] = {**ways["packed, as short as rows allow"], **passes}
    return ways


def dpo_ways(lengths: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Ways to learn from pairs whose rows have these lengths, none of which cuts a row, two pairs a step.

    TRL 1.16 has padding_free turned off for DPO, so padding is avoided by passes of one pair.
    """
    longest = max(lengths)
    return {
        "two pairs a pass": {"length": longest, "batch": 2},
        "two pairs a pass, reference first": {"length": longest, "batch": 2, "precompute": True},
        "one pair a pass": {"length": longest, "batch": 1, "accumulate": 2},
        "one pair a pass, reference first": {"length": longest, "batch": 1, "accumulate": 2, "precompute": True},
    }


def alike(ways: Mapping[str, dict[str, Any]], values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Let the peer compute layers again in the backward pass where the settings of honed's training say so."""
    checkpointing = bool(values.get("activation_checkpointing"))
    return {name: {**way, "checkpointing": checkpointing} for name, way in ways.items()}


def in_precisions(
    ways: Mapping[str, dict[str, Any]], rates: Mapping[str, float], weights: str = "full"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return every way in fp32, and in bf16 where ``rates`` (FLOP/s) give it a chance; and why others are left out.

    For LoRA also with the frozen weights in bf16, which spares autocast its copies. Full weights that are trained in
    bf16 without masters lose small updates: that would be another training.
    """
    tried = {f"{name}, fp32": {**way, "precision": "fp32"} for name, way in ways.items()}
    half = {f"{name}, bf16": {**way, "precision": "bf16"} for name, way in ways.items()}
    if weights == "lora":
        half |= {f"{name}, bf16 weights": {**way, "precision": "bf16-weights"} for name, way in ways.items()}
    if rates["bf16"] >= WORTH_TRYING * rates["fp32"]:
        return {**tried, **half}, {}
    why = f"bf16 products run at {rates['bf16'] / 1e9:.0f} GFLOP/s here, fp32 ones at {rates['fp32'] / 1e9:.0f}"
    return tried, dict.fromkeys(half, why)


def sft_rows(rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    """Rows as TRL reads them."""
    return [{"prompt": _turns(row.prompt), "completion": _turns(row.messages[-1:])} for row in rows]


def dpo_rows(preferences: Sequence[Preference]) -> list[dict[str, Any]]:
    """Preferences as TRL reads them."""
    return [
        {
            "prompt": _turns(one.prompt),
            "chosen": [{"role": "assistant", "content": one.chosen}],
            "rejected": [{"role": "assistant", "content": one.rejected}],
        }
        for one in preferences
    ]


def train(
    python: str, folder: Path, model: Path, rows: Sequence[Mapping[str, Any]], way: Mapping[str, Any], *more: str
) -> dict[str, Any]:
    """Run the peer's script in ``folder`` and return its document; ``more`` are arguments of it.

    Raises ``PeerError`` with its last words if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps(list(rows)))
    command = [python, str(SCRIPT), "--model", str(model), "--rows", str(folder / "rows.json")]
    command += ["--way", json.dumps(dict(way)), *more]
    # Its own cache of data sets: nothing that an earlier run computed may be found again.
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return {**json.loads(done.stdout.splitlines()[-1]), "way": dict(way)}


def _turns(messages: Sequence[Any]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]

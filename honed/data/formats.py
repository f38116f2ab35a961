"""The shapes that a dataset can be written in, by name: what a command offers without loading what writes them."""

from __future__ import annotations

from typing import Literal

Format = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "dolly",
    "prompt-response",
    "prompt-completion",
    "oasst",
    "seed-tasks",
    "dpo",
    "llama-factory",
    "hh-rlhf",
    "kto",
    "label-studio",
    "argilla",
]

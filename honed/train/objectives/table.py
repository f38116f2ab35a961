"""Which objectives there are: how each reads its examples, and how it is made once the model is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from honed.models.chat import ChatFormat, Encoded
from honed.store import datasets
from honed.store.artifacts import Artifact
from honed.train import pairs
from honed.train.config import TrainConfig
from honed.train.loop import Objective
from honed.train.objectives.dpo import Dpo
from honed.train.objectives.sft import Sft
from honed.train.rows import Rows, encode


@dataclass(frozen=True)
class Entry:
    """An objective before its model is known.

    ``read(dataset, chat, limit, count)`` returns the examples; ``make(config, fused, packed, shared)`` the objective.
    ``reference`` says that examples need the base model's log-likelihoods; ``settings(config)`` what else it goes by.
    """

    read: Callable[[Artifact, ChatFormat, int, int | None], Rows[Any]]
    make: Callable[[TrainConfig, bool, bool, bool], Objective[Any, Any]]
    settings: Callable[[TrainConfig], Mapping[str, float]] = lambda _: {}
    reference: bool = False


def _rows(dataset: Artifact, chat: ChatFormat, limit: int, count: int | None) -> Rows[Encoded]:
    return encode(datasets.rows(dataset, "train", count), chat, limit)


OBJECTIVES: Mapping[str, Entry] = {
    "sft": Entry(read=_rows, make=lambda _config, fused, _packed, shared: Sft(fused, shared)),
    "dpo": Entry(
        read=pairs.read,
        make=lambda config, fused, packed, shared: Dpo(config.dpo_beta, fused, packed, shared),
        settings=lambda config: {"beta": config.dpo_beta},
        reference=True,
    ),
}

"""Engines that say what a test wants, token by token, whatever their models compute."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import pytest

from honed.models.chat import ChatFormat
from honed.models.sampling import Chooser


def say(monkeypatch: pytest.MonkeyPatch, chat: ChatFormat, text: str) -> int:
    """Let every answer of every engine in this process be ``text``; return how many tokens that takes."""
    script = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    said: WeakKeyDictionary[Chooser, int] = WeakKeyDictionary()

    def choose(chooser: Chooser, _logits: object, _greedy: int) -> int:
        place = said.get(chooser, 0)
        said[chooser] = place + 1
        return int(script[place])

    monkeypatch.setattr(Chooser, "choose", choose)
    return len(script)

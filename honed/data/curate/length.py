"""Bands of length: rows whose prompt, answer or whole is too short or too long, in words or in a model's tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Literal

from pydantic import Field

from honed.config import Config
from honed.data.curate.pieces import of_each
from honed.data.curate.row import Finding, Row
from honed.data.curate.view import View, records
from honed.data.curate.words import words
from honed.store.workspace import Workspace


class Length(Config):
    """Settings of the step ``length``."""

    prompt: tuple[int, int] = Field(default=(1, 10_000), description="least and most words of the prompt")
    answer: tuple[int, int] = Field(
        default=(1, 10_000), description="least and most words of the final answer, or of both of a preference"
    )
    action: Literal["drop", "report"] = Field(default="drop", description="what is done about rows outside a band")


class Tokens(Config):
    """Settings of the step ``tokens``."""

    model: str | None = Field(default=None, description="whose chat template and tokenizer count the tokens")
    band: tuple[int, int] = Field(default=(1, 4096), description="least and most tokens of a whole row")
    action: Literal["drop", "report"] = Field(default="drop", description="what is done about rows outside the band")


def length(view: View, settings: Length, _say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop or report rows whose prompt or answer has too few or too many words; a tool call counts as one."""
    yield from chain.from_iterable(view.mapped(of_each(partial(_outside, settings)), "all"))


def _outside(settings: Length, row: Row) -> Iterator[Finding]:
    said = [("prompt", sum(len(words(text)) for text in row.prompts()), settings.prompt)]
    said += [(name, len(words(turn.content)) + bool(turn.calls), settings.answer) for name, turn in row.named()]
    for name, count, (least, most) in said:
        if not least <= count <= most:
            bad = "too short" if count < least else "too long"
            what = f"the {name} has {count:,} words, outside {least:,} to {most:,}"
            yield Finding(row.number, row.id, f"{name} {bad}", settings.action, what)
            break


def tokens(view: View, settings: Tokens, say: Callable[[str], None]) -> Iterator[Finding]:
    """Drop or report rows with too few or too many tokens, or that the model's template can't take."""
    from honed.models.chat import Unusable
    from honed.models.load import load_chat

    assert settings.model is not None  # the recipe is refused without one
    chat = load_chat(settings.model, Workspace(view.dataset.path.parents[2]), say=say)
    least, most = settings.band
    for number, record in records(view):
        try:
            count = max(len(one.ids) for one in chat.encode(record).rows)
        except Unusable as error:
            yield Finding(number, record.id, "unusable for the model", settings.action, error.message)
            continue
        if not least <= count <= most:
            bad = "too short" if count < least else "too long"
            what = f"{count:,} tokens of {settings.model}, outside {least:,} to {most:,}"
            yield Finding(number, record.id, f"row {bad}", settings.action, what)

"""Rows of a kind that an error analysis asks for: those of another method, without any text of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from honed.data.language import TOLD, language
from honed.data.synthesize import seeds
from honed.data.synthesize.asks import Ask
from honed.data.synthesize.methods.method import Made, Method, RejectedError, template
from honed.data.synthesize.screen import Screen
from honed.models.wire import Reply, Request
from honed.records import ATTRIBUTES, Conversation, Message

TAG = "asked"
"""The tag that names the kind that a row was made for."""


@dataclass(frozen=True)
class Asked:
    """``asked``: the rows of ``inner`` that are of the kind, with its tags."""

    ask: Ask
    inner: Method
    screen: Screen
    evaluation: str

    def first(self, unit: int) -> Request:
        """Ask as the method does; where only examples show a kind, its name is said as well."""
        request = self.inner.first(unit)
        if self.ask.settings.method != "self-instruct":
            return request
        (turn,) = request.messages
        text = template("asked", kind=self.ask.kind, tasks=turn.content)
        return request.model_copy(update={"messages": (Message(role="user", content=text),)})

    def then(self, unit: int, reply: Reply) -> Sequence[Request]:
        """Ask for what the method needs."""
        return self.inner.then(unit, reply)

    def made(self, unit: int, reply: Reply, later: Sequence[Reply]) -> Made:
        """Return the method's row, unless it speaks another language or holds a part of the evaluation."""
        made = self.inner.made(unit, reply, later)
        wanted, spoken = self.ask.wanted.language, language(seeds.request(made.row))
        if wanted in TOLD and spoken not in ("", wanted):
            raise RejectedError("other language", f"the instruction is {spoken}, and not {wanted}", made.novel)
        if held := self.screen.held([made.row]):
            raise RejectedError("part of the evaluation", held[0], made.row.answer)
        return made._replace(row=self._marked(made.row))

    def guess(self, unit: int) -> Sequence[Request]:
        """Guess as the method does."""
        return self.inner.guess(unit)

    def _marked(self, row: Conversation) -> Conversation:
        """Return the row with the kind, and with those of its tags that the seed doesn't say.

        Of people nothing is inferred: an attribute that comes of the kind says which evaluation asked for it.
        """
        new = {tag: value for tag, value in self.ask.wanted.tags.items() if tag not in row.tags}
        where = {tag: f"asked for by {self.evaluation}" for tag in new if tag in ATTRIBUTES}
        return row.model_copy(
            update={"tags": {**new, **row.tags, TAG: self.ask.kind}, "declared": {**where, **row.declared}}
        )

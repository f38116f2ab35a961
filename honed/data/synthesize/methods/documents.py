"""Questions about passages of documents: answered from the passage, or such that the passage doesn't answer them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from honed.data.curate.words import words
from honed.data.synthesize import seeds
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.method import Made, RejectedError, Shape, asked, draws, read, sound, template
from honed.data.synthesize.passages import Passage
from honed.models.wire import Reply, Request
from honed.records import Conversation, Message

_LEAST_QUOTE = 3
_YES = re.compile(r"\W*yes\b", re.IGNORECASE)
_NO = re.compile(r"\W*no\b", re.IGNORECASE)


class Answered(Shape):
    """A question with its answer, and the words of the passage that give it."""

    question: str = Field(min_length=8)
    quote: str
    answer: str = Field(min_length=1)


class Unanswered(Shape):
    """A question that the passage doesn't answer, and an answer that says so."""

    question: str = Field(min_length=8)
    answer: str = Field(min_length=8)


@dataclass(frozen=True)
class Documents:
    """``documents``. A quotation must stand in the passage; that a question has no answer is asked a second time."""

    config: SynthesizeConfig
    passages: Sequence[Passage]
    generator: str

    def first(self, unit: int) -> Request:
        """Ask for a question."""
        open_ = self._open(unit)
        text = template("document_unanswerable" if open_ else "document_question", passage=self._passage(unit).text)
        return asked(self.config, text, Unanswered if open_ else Answered, seed=unit // len(self.passages))

    def then(self, unit: int, reply: Reply) -> Sequence[Request]:
        """Ask whether the passage really doesn't answer it."""
        if not self._open(unit):
            return []
        found, _ = read(reply, Unanswered)
        return [self._doubt(unit, found.question)]

    def made(self, unit: int, reply: Reply, later: Sequence[Reply]) -> Made:
        """Put passage and question into one turn."""
        passage = self._passage(unit)
        if self._open(unit):
            missing, mended = read(reply, Unanswered)
            if not _NO.match(later[0].text):
                kind = "answerable after all" if _YES.match(later[0].text) else "no verdict"
                raise RejectedError(kind, "asked again, the writer does not say that the passage lacks it", reply.text)
            question, answer = missing.question, missing.answer
        else:
            found, mended = read(reply, Answered)
            question, answer = found.question, found.answer
            quote = words(found.quote)
            if len(quote) < _LEAST_QUOTE or f" {' '.join(quote)} " not in f" {' '.join(words(passage.text))} ":
                raise RejectedError("no such quote", f"{found.quote!r} does not stand in the passage", reply.text)
        asking = f"{passage.text}\n\nQuestion: {question}"
        system = [Message(role="system", content=self.config.system)] if self.config.system else []
        messages = (*system, Message(role="user", content=asking), Message(role="assistant", content=answer))
        sound(messages)
        tags = {
            **seeds.tags(self.config, self.generator, None),
            "document": f"{passage.file}, passage {passage.number}",
            "answerable": "no" if self._open(unit) else "yes",
        }
        return Made(Conversation(messages=messages, tags=tags), question, mended)

    def guess(self, unit: int) -> Sequence[Request]:
        """Guess a question of some words."""
        return [self._doubt(unit, "what does the passage say of it?")] if self._open(unit) else []

    def _passage(self, unit: int) -> Passage:
        return self.passages[unit % len(self.passages)]

    def _open(self, unit: int) -> bool:
        return draws(self.config, unit).random() < self.config.unanswerable

    def _doubt(self, unit: int, question: str) -> Request:
        return asked(self.config, template("document_doubt", passage=self._passage(unit).text, question=question))

"""Reasoning before an answer: the marks that a model's chat template puts around it, and how the two are told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))
"""Opening and closing marks: Qwen, DeepSeek and most others; Mistral (Magistral); Gemma 4."""

_FINAL = "<|channel|>final<|message|>"


def marks_of(template: str) -> tuple[str, str] | None:
    """Return the marks of reasoning that a chat template knows: one of them stands in it."""
    return next((marks for marks in MARKS if any(mark in template for mark in marks)), None)


@dataclass(frozen=True)
class Thought:
    """How reasoning is marked: any of ``opening`` begins it, any of ``closing`` ends it; none is another's beginning.

    ``hidden`` are the ids of special tokens that are in no mark. It is None where no mark has a special token: decoding
    without special tokens leaves the marks in the text then.
    """

    opening: tuple[str, ...]
    closing: tuple[str, ...]
    hidden: frozenset[int] | None = None

    def opened(self, prompt: str) -> bool:
        """Tell whether a prompt ends with an opening mark, so that the model goes on inside its reasoning."""
        return prompt.rstrip().endswith(self.opening)


WRITTEN = Thought(MARKS[0][:1], MARKS[0][1:])
"""What is left in the answers of servers that don't look for reasoning: the other marks are special tokens."""

_HARMONY = Thought(
    ("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>"),
    (f"<|end|><|start|>assistant{_FINAL}", _FINAL),
)
"""gpt-oss: the message in the channel ``final`` is the answer, what stands before it reasoning (OpenAI, "Harmony")."""


def thought_of(template: str, tokenizer: PreTrainedTokenizerFast) -> Thought | None:
    """Return how a chat template marks reasoning, or None if it knows no marks."""
    marks = marks_of(template)
    if _FINAL not in template and marks is None:
        return None
    found = Thought(marks[:1], marks[1:]) if marks else _HARMONY
    special = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    shown = {id_ for id_, text in special.items() if any(text in mark for mark in (*found.opening, *found.closing))}
    return replace(found, hidden=frozenset(special.keys() - shown)) if shown else found


def rule(thought: Thought | None) -> tuple[str, ...]:
    """Return what a kept answer depends on besides its model: the marks by which reasoning was taken from it."""
    return (*thought.opening, *thought.closing) if thought else ()


class Splitter:
    """Tells reasoning and answer apart while their text arrives.

    A text that begins (after white space) with an opening mark is reasoning up to the closing one, and so is any text
    if the prompt ``opened`` it; all else is answer, whatever marks stand within. A part's line breaks at a mark go.
    """

    def __init__(self, thought: Thought, *, opened: bool) -> None:
        self._thought, self._opened = thought, opened
        self._part: Literal["begin", "reasoning", "answer"] = "begin"
        self._held = ""  # what may yet be a mark, or line breaks before one
        self._bare = opened  # a mark is behind, and nothing but line breaks since

    def add(self, piece: str) -> tuple[str, str]:
        """Take more text; return what became certain of the reasoning, and of the answer."""
        self._held += piece
        if self._part == "begin":
            self._begin()
        reasoning = self._reasoning() if self._part == "reasoning" else ""
        return reasoning, self._take(len(self._held)) if self._part == "answer" else ""

    def end(self) -> tuple[str, str]:
        """Return the text that was held back, as ``add`` does; no more comes."""
        if self._part == "reasoning" or (self._part == "begin" and self._opened):
            return self._take(len(self._held.rstrip("\n"))), ""
        return "", self._take(len(self._held))

    def _begin(self) -> None:
        """Find out what the text begins with, once it is clear."""
        start, thought = self._held.lstrip(), self._thought
        marks = (*thought.opening, *thought.closing)
        if found := next(filter(start.startswith, marks), ""):
            self._held, self._bare = start[len(found) :], True
            self._part = "reasoning" if found in thought.opening else "answer"
        elif not any(mark.startswith(start) for mark in marks):
            self._part = "reasoning" if self._opened else "answer"

    def _reasoning(self) -> str:
        """Return the reasoning that is certain; the answer begins if its closing mark is there."""
        places = [(place, mark) for mark in self._thought.closing if (place := self._held.find(mark)) >= 0]
        if not places:
            sure = len(self._held) - max(overlap(self._held, mark) for mark in self._thought.closing)
            return self._take(len(self._held[:sure].rstrip("\n")))
        place, mark = min(places)
        behind = self._held[place + len(mark) :]
        reasoning = self._take(len(self._held[:place].rstrip("\n")))
        self._part, self._held, self._bare = "answer", behind, True
        return reasoning

    def _take(self, until: int) -> str:
        taken, self._held = self._held[:until], self._held[until:]
        if self._bare:
            taken = taken.lstrip("\n")
            self._bare = not taken
        return taken


def split(text: str, thought: Thought, *, opened: bool) -> tuple[str, str]:
    """Return the reasoning and the answer of a whole text (see ``Splitter``); without a closing mark none is there."""
    splitter = Splitter(thought, opened=opened)
    parts = zip(splitter.add(text), splitter.end(), strict=True)
    reasoning, answer = ("".join(part) for part in parts)
    return reasoning, answer


def overlap(text: str, word: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``word``, and not all of it."""
    longest = min(len(text), len(word) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(word[:length])), 0)

"""A prompt on its way to an answer: its tokens, how the next one is chosen, and the text that has become certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from honed.errors import ModelError
from honed.models.engine import Completion, Sampling
from honed.models.load import LoadedModel
from honed.models.lookup import Lookup
from honed.models.pieces import Pieces
from honed.models.sampling import Chooser
from honed.records import Message


@dataclass(eq=False)
class Row:
    """A prompt on its way to an answer."""

    ids: list[int]
    limit: int
    chooser: Chooser
    pieces: Pieces
    text: list[str] = field(default_factory=list)
    last: int = 0
    made: int = 0
    finish: str = ""
    sequence: list[int] = field(default_factory=list)
    """All tokens, the prompt's and the answer's."""
    lookup: Lookup | None = None
    reasoned: int = 0
    """How many pieces of reasoning ``reasoning`` has returned."""

    def __post_init__(self) -> None:
        self.sequence = list(self.ids)
        if self.chooser.greedy:
            self.lookup = Lookup(self.ids)

    @property
    def length(self) -> int:
        """Columns of the cache that belong to the row: the newest token isn't in it yet."""
        return len(self.ids) + self.made - 1

    @property
    def completion(self) -> Completion:
        """What came of the row, once it has ended."""
        return Completion.model_validate(
            {
                "text": "".join(self.text),
                "reasoning": "".join(self.pieces.reasoning),
                "tokens": self.made,
                "finish": self.finish,
                "prompt_tokens": len(self.ids),
            }
        )

    def reasoning(self) -> str:
        """Return the reasoning that became certain since the last call: it comes before any text of the answer."""
        before, self.reasoned = self.reasoned, len(self.pieces.reasoning)
        return "".join(self.pieces.reasoning[before:])

    def take(self, token: int, stop_ids: frozenset[int]) -> str:
        """Take the next token; return the text that became certain."""
        self.last, self.made = token, self.made + 1
        self.sequence.append(token)
        if self.lookup:
            self.lookup.add(token)
        piece = self._next(token, stop_ids)
        self.text.append(piece)
        return piece

    def cancel(self) -> str:
        """End the row where it is; return the text that was held back."""
        self.finish = "cancelled"
        piece = self.pieces.end()
        self.text.append(piece)
        return piece

    def guesses(self, most: int) -> list[int]:
        """Return up to ``most`` tokens that a greedy answer may go on with, the last one that it may have excepted."""
        return self.lookup.ahead(min(most, self.limit - self.made - 1)) if self.lookup else []

    def _next(self, token: int, stop_ids: frozenset[int]) -> str:
        if token in stop_ids:
            self.finish = "stop"
            return self.pieces.end()
        piece = self.pieces.add(token)
        if self.pieces.stopped:
            self.finish = "stop"
        elif self.made == self.limit:
            self.finish = "length"
            piece += self.pieces.end()
        return piece


def make_row(loaded: LoadedModel, prompt: Sequence[Message], sampling: Sampling, where: str = "") -> Row:
    """Return the row of a prompt.

    Raises ``ModelError``, beginning with ``where``, if the prompt leaves no room in the context, and what
    ``ChatFormat.prompt_ids`` raises.
    """
    ids, context = loaded.chat.prompt_ids(prompt), loaded.context
    if len(ids) > context - 1:
        raise ModelError(
            f"{where}the prompt has {len(ids)} tokens, and the model's context is {context}",
            f"Shorten it to {context - 1} tokens at most, or choose a model with a longer context.",
        )
    limit = min(sampling.max_tokens, context - len(ids))
    return Row(ids, limit, Chooser(sampling, ids), Pieces(loaded.chat, sampling.stop, ids))

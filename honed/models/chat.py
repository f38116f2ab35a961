"""The chat format: how a conversation becomes token ids, the same for training, evaluating, serving and showing.

One object holds the tokenizer, the chat template, the stop ids and the pad id; its hash goes into every manifest.
Supervision is found by ids, never by searching for text: an assistant turn is supervised from the first token after
its generation header up to and including its stop id. The pad id plays no part, so pad == stop is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson

from honed.errors import HonedError, ModelError
from honed.models.calls import PROBE, PROBE_WORDS, as_plain, as_text, with_tools
from honed.records import Conversation, Message, digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DEFAULT_TEMPLATE = "plain"
"""Template of a model that brings none; it needs no token beyond the end-of-text one."""

_PROBE = (Message(role="user", content="a"), Message(role="assistant", content="b"))


class Unusable(HonedError):  # noqa: N818 - it says what the row is, not that honed failed
    """A row that can't be trained on as it is. ``kind`` is a short word to count by."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


@dataclass(frozen=True)
class Encoded:
    """A row as the model sees it.

    ``ids[j]`` is a token; ``weights[j]`` is the loss weight of predicting ``ids[j]`` from the tokens before it,
    0 where nothing is supervised. Both have the same length; ``weights[0]`` is always 0.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """The row itself: the smallest example to learn from (a preference is an example of two rows)."""
        return (self,)

    @property
    def supervised(self) -> int:
        """Number of tokens that carry a loss."""
        return sum(weight > 0 for weight in self.weights)

    @property
    def unweighted(self) -> Encoded:
        """The same row with every supervised token counting once: how a held-out loss is measured."""
        return Encoded(self.ids, tuple(float(weight > 0) for weight in self.weights))


@dataclass(frozen=True)
class ChatFormat:
    """Tokenizer, chat template, stop ids and pad id, as one object."""

    tokenizer: PreTrainedTokenizerFast
    template: str
    stop_ids: frozenset[int]
    pad_id: int

    @cached_property
    def hash(self) -> str:
        """16 hex digits over everything that decides which ids a conversation becomes."""
        backend = orjson.loads(self.tokenizer.backend_tokenizer.to_str())
        parts = {key: value for key, value in backend.items() if key not in ("padding", "truncation")}
        return digest([parts, self.template, sorted(self.stop_ids), self.pad_id])

    def render(self, messages: Sequence[Message], *, generation: bool) -> str:
        """Return the conversation as text; ``generation`` appends the header of an assistant turn.

        Special tokens written in a message are data: a zero-width space is put into them, so that no message can
        close its own turn or open another's. Tools, calls and results go through the template if it ``speaks_tools``,
        and are text otherwise. Raises ``Unusable`` if the template refuses the conversation.
        """
        from jinja2.exceptions import TemplateError

        if with_tools(messages) and not self.speaks_tools:
            messages = as_text(messages)
        plain, tools = as_plain(messages, self._defused)
        try:
            text = self.tokenizer.apply_chat_template(
                plain,
                tools=tools or None,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=generation,
            )
        except TemplateError as error:
            raise Unusable("template", f"the chat template refuses this conversation: {error}") from error
        return str(text)

    @cached_property
    def speaks_tools(self) -> bool:
        """Whether the template has a form of its own for tools, calls and results; otherwise they are text.

        Told by trying: each of the three has to come out of it.
        """
        from jinja2.exceptions import TemplateError

        plain, tools = as_plain(PROBE, str)
        try:
            text = self.tokenizer.apply_chat_template(
                plain, tools=tools, chat_template=self.template, tokenize=False, add_generation_prompt=False
            )
        except (TemplateError, TypeError, KeyError):
            return False
        return all(word in str(text) for word in PROBE_WORDS)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that a server feeds for these turns, generation header included."""
        return self._ids(self.render(messages, generation=True))

    @cached_property
    def opening(self) -> tuple[int, ...]:
        """The ids that ``prompt_ids`` ends with, whatever came before: those that open an assistant turn, if any do."""
        whole, before = self.prompt_ids(_PROBE[:1]), self._ids(self.render(_PROBE[:1], generation=False))
        same = next((at for at, (one, other) in enumerate(zip(whole, before, strict=False)) if one != other), None)
        return tuple(whole[min(len(whole), len(before)) if same is None else same :])

    def encode(self, row: Conversation) -> Encoded:
        """Return the row's ids and loss weights.

        Raises ``Unusable`` if a turn's prompt isn't a token prefix of the whole row (training would then teach
        another text than serving asks for), if a turn has no stop id, or if nothing is supervised.
        """
        ids = self._ids(self.render(row.messages, generation=False))
        turns: list[tuple[int, float]] = []
        for place, message in enumerate(row.messages):
            if message.role != "assistant":
                continue
            prompt = self.prompt_ids(row.messages[:place])
            if ids[: len(prompt)] != prompt:
                raise Unusable(
                    "prefix",
                    f"turn {place + 1}: its prompt's tokens are not the beginning of the row's tokens",
                    "The chat template rewrites earlier turns, or the answer's first characters merge with the header.",
                )
            turns.append((len(prompt), message.weight))
        weights = turn_weights(ids, turns, self.stop_ids)
        if not any(weights):
            raise Unusable("unsupervised", "no assistant token carries a loss", "Give a turn a weight above 0.")
        return Encoded(tuple(ids), tuple(weights))

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """Return the text of ids, special tokens shown or left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        )

    def _ids(self, text: str) -> list[int]:
        # The template writes BOS itself where the model wants one: the tokenizer must not add a second.
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    @cached_property
    def _special(self) -> re.Pattern[str] | None:
        texts = sorted(
            (token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special),
            key=len,
            reverse=True,
        )
        return re.compile("|".join(map(re.escape, texts))) if texts else None

    def _defused(self, text: str) -> str:
        if self._special is None:
            return text
        return self._special.sub(lambda found: f"{found[0][:1]}\u200b{found[0][1:]}", text)


def turn_weights(ids: Any, turns: Sequence[tuple[int, float]], stop_ids: Iterable[int]) -> list[float]:
    """Return one loss weight a token: each turn's weight from its first token through its first stop id.

    ``ids`` is a list, a 1-D or 1 x T array or tensor, or a tokenizer's encoding; ``turns`` are (index of the first
    answer token, weight), in order. Raises ``Unusable`` if a turn has no stop id before the next turn begins.
    """
    plain = _plain_ids(ids)
    stops = frozenset(stop_ids)
    weights = [0.0] * len(plain)
    for number, (start, weight) in enumerate(turns):
        limit = turns[number + 1][0] if number + 1 < len(turns) else len(plain)
        end = next((place for place in range(start, limit) if plain[place] in stops), None)
        if end is None:
            raise Unusable("stop", f"assistant turn {number + 1} ends without a stop id", "Use another chat template.")
        for place in range(start, end + 1):
            weights[place] = weight
    return weights


def from_tokenizer(
    tokenizer: PreTrainedTokenizerFast, *, template: str | None = None, stop_ids: Iterable[int] = ()
) -> ChatFormat:
    """Return the chat format of a tokenizer.

    ``template`` names a shipped one (``shipped_templates``) or is None for the tokenizer's own, or for the stated
    default if it has none. ``stop_ids`` (say, of the generation config) are added to the tokenizer's end-of-text
    id and to the token with which the template ends an assistant turn. Raises ``ModelError`` if the template ends
    its turns without any token that could stop the model, or uses tokens that the tokenizer lacks.
    """
    source = shipped_template(template) if template else tokenizer.chat_template or shipped_template(DEFAULT_TEMPLATE)
    stops = {int(stop) for stop in stop_ids}
    if tokenizer.eos_token_id is not None:
        stops.add(int(tokenizer.eos_token_id))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0)
    draft = ChatFormat(tokenizer, source, frozenset(stops), int(pad))
    try:
        prompt = draft.prompt_ids(_PROBE[:1])
        rest = draft._ids(draft.render(_PROBE, generation=False))[len(prompt) :]
    except Unusable as error:
        raise ModelError(error.message, "Choose a shipped one: " + ", ".join(shipped_templates())) from error
    special = {key for key, token in tokenizer.added_tokens_decoder.items() if token.special}
    ending = next((token for token in rest if token in special | stops), None)
    if ending is None:
        raise ModelError(
            "the chat template ends an assistant turn without any special token, so the model could never stop",
            "Choose a shipped template that fits the tokenizer: " + ", ".join(shipped_templates()),
        )
    return ChatFormat(tokenizer, source, frozenset(stops | {ending}), int(pad))


def shipped_templates() -> list[str]:
    """Return the names of the chat templates that come with honed."""
    return sorted(path.name.removesuffix(".jinja") for path in _templates().iterdir() if path.name.endswith(".jinja"))


def shipped_template(name: str) -> str:
    """Return the source of a shipped chat template; an unknown name raises ``ModelError``."""
    if name not in shipped_templates():
        raise ModelError(f"there is no chat template {name!r}", "Shipped: " + ", ".join(shipped_templates()))
    return str((_templates() / f"{name}.jinja").read_text())


def _templates() -> Any:
    return resources.files("honed.models") / "templates"


def _plain_ids(ids: Any) -> list[int]:
    if isinstance(ids, Mapping) or hasattr(ids, "input_ids"):
        ids = ids["input_ids"]
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if ids and isinstance(ids[0], list):
        assert len(ids) == 1, "one row at a time"
        ids = ids[0]
    return [int(token) for token in ids]

"""The chat format: how a conversation becomes token ids, the same for training, evaluating, serving and showing.

One object holds the tokenizer, the chat template, the stop ids and the pad id; its hash goes into every manifest.
Supervision is found by ids, never by searching for text: an assistant turn is supervised from the first token after
its generation header up to and including its stop id, as the template writes it when it is the last turn, which is
what a server asks for. The pad id plays no part, so pad == stop is harmless.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson

from honed.errors import HonedError, ModelError
from honed.models.calls import PROBE, PROBE_WORDS, as_plain, as_text, with_tools
from honed.models.thought import Thought, thought_of
from honed.records import Conversation, Message, digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DEFAULT_TEMPLATE = "plain"
"""Template of a model that brings none; it needs no token beyond the end-of-text one."""

_PROBE, _OTHER = ((Message(role="user", content="a"), Message(role="assistant", content=said)) for said in "bc")
"""Two conversations that differ in their answers: what is the same behind these is how the template ends a turn."""


_TODAY = re.compile(r"""\bstrftime_now\(\s*(?P<mark>['"])(?P<format>[^'"]*)(?P=mark)\s*\)""")
"""How a template writes today's date."""


class Unusable(HonedError):  # noqa: N818 - it says what the row is, not that honed failed
    """A row that can't be trained on as it is. ``kind`` is a short word to count by."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


@dataclass(frozen=True)
class Encoded:
    """A row as the model sees it.

    ``ids[j]`` is a token; ``weights[j]`` is the loss weight of predicting ``ids[j]`` from the tokens before it,
    0 where nothing is supervised. Both have the same length; ``weights[0]`` is always 0. ``apart`` are the answers that
    the template writes in another way once turns follow them, each at the end of a row of its own.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    apart: tuple[Encoded, ...] = ()

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """All that goes through the model: the row itself and those apart (a preference is an example of two rows)."""
        return (self, *self.apart)

    @property
    def supervised(self) -> int:
        """Number of tokens that carry a loss, without the rows apart."""
        return sum(weight > 0 for weight in self.weights)

    @property
    def unweighted(self) -> Encoded:
        """The row alone with every supervised token counting once: how a held-out loss is measured."""
        return Encoded(self.ids, tuple(float(weight > 0) for weight in self.weights))


@dataclass(frozen=True)
class ChatFormat:
    """Tokenizer, chat template, stop ids and pad id, as one object.

    ``clock`` is the time of templates that write today's date, None that of each call: a training that goes on
    tomorrow has to see today's rows.
    """

    tokenizer: PreTrainedTokenizerFast
    template: str
    stop_ids: frozenset[int]
    pad_id: int
    clock: datetime | None = None

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
                chat_template=self._dated,
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
        """Return the row's ids and loss weights: every answer that carries a loss, as a server would ask for it.

        An answer that the template writes otherwise when it isn't the last turn (Qwen3 drops the reasoning before it,
        gpt-oss ends it with another token) is learned in a row of its own, which ends with it (``Encoded.apart``).
        Raises ``Unusable`` if such a turn's prompt isn't a token prefix of the turn (training would then teach another
        text than serving asks for), if it has no stop id, or if nothing is supervised.
        """
        text = self.render(row.messages, generation=False)
        whole, starts = self._placed(text)
        weights, apart = [0.0] * len(whole), []
        for place, message in enumerate(row.messages, 1):
            if message.role != "assistant" or not message.weight:
                continue
            turns = row.messages[:place]
            upto = text if place == len(row.messages) else self.render(turns, generation=False)
            alone = whole[: bisect_left(starts, len(upto))] if text.startswith(upto) else self._ids(upto)
            learned = self._learned(turns, alone)
            end = max(at for at, weight in enumerate(learned, 1) if weight)
            if whole[:end] == alone[:end]:
                weights[:end] = map(max, weights[:end], learned[:end])
            else:
                apart.append(Encoded(tuple(alone), tuple(learned)))
        rows = [*([Encoded(tuple(whole), tuple(weights))] if any(weights) else []), *apart]
        if not rows:
            raise Unusable("unsupervised", "no assistant token carries a loss", "Give a turn a weight above 0.")
        return replace(rows[0], apart=tuple(rows[1:]))

    @cached_property
    def rewrites(self) -> bool:
        """Whether the template writes an answer otherwise once turns follow it. Told by trying."""
        try:
            return bool(self.encode(Conversation(messages=(*_PROBE, *_OTHER))).apart)
        except Unusable:
            return False

    def _learned(self, turns: Sequence[Message], ids: Sequence[int]) -> list[float]:
        """Return the loss weights of the last of ``turns``, whose ids are ``ids``. Raises as ``encode`` does."""
        prompt = self.prompt_ids(turns[:-1])
        if ids[: len(prompt)] != prompt:
            raise Unusable(
                "prefix",
                f"turn {len(turns)}: its prompt's tokens are not the beginning of the row's tokens",
                "The chat template rewrites earlier turns, or the answer's first characters merge with the header.",
            )
        weights = turn_weights(ids, len(prompt), turns[-1].weight, self.stop_ids)
        if not any(weights):
            raise Unusable("stop", f"turn {len(turns)}: no stop id ends it", "Use another chat template.")
        return weights

    @cached_property
    def _dated(self) -> str:
        """The template with the date of ``clock`` in it: transformers lets no function of ours into a template."""
        clock = self.clock
        if clock is None:
            return self.template
        return _TODAY.sub(lambda found: repr(clock.strftime(found["format"])), self.template)

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """Return the text of ids, special tokens shown or left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        )

    def _ids(self, text: str) -> list[int]:
        # The template writes BOS itself where the model wants one: the tokenizer must not add a second.
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _placed(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of a text, and where in it each begins (a token may swallow the spaces behind it)."""
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(made["input_ids"]), [start for start, _ in made["offset_mapping"]]

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

    @cached_property
    def thought(self) -> Thought | None:
        """How the template marks the reasoning before an answer; None if it knows none."""
        return thought_of(self.template, self.tokenizer)


def turn_weights(ids: Any, start: int, weight: float, stop_ids: Iterable[int]) -> list[float]:
    """Return one loss weight a token of a row that ends in an answer: ``weight`` from ``start`` through the first stop.

    ``ids`` is a list, a 1-D or 1 x T array or tensor, or a tokenizer's encoding; ``start`` is the place of the answer's
    first token. All weights are 0 if no stop id comes behind it.
    """
    plain, stops = _plain_ids(ids), frozenset(stop_ids)
    end = next((place + 1 for place in range(start, len(plain)) if plain[place] in stops), start)
    return [0.0] * start + [weight] * (end - start) + [0.0] * (len(plain) - end)


def from_tokenizer(
    tokenizer: PreTrainedTokenizerFast, *, template: str | None = None, stop_ids: Iterable[int] = ()
) -> ChatFormat:
    """Return the chat format of a tokenizer.

    ``template`` names a shipped one (``shipped_templates``) or is None for the tokenizer's own, or for the stated
    default if it has none. ``stop_ids`` (say, of the generation config) are added to the tokenizer's end-of-text
    id and to the token with which the template ends an assistant turn. Raises ``ModelError`` if the template ends
    its turns without any token that could stop the model, or if a stop id comes before the answer.
    """
    source = shipped_template(template) if template else tokenizer.chat_template or shipped_template(DEFAULT_TEMPLATE)
    stops = {int(stop) for stop in stop_ids}
    if tokenizer.eos_token_id is not None:
        stops.add(int(tokenizer.eos_token_id))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0)
    draft = ChatFormat(tokenizer, source, frozenset(stops), int(pad))
    return replace(draft, stop_ids=draft.stop_ids | {_ending(draft)})


def _ending(draft: ChatFormat) -> int:
    """Return the first special token or stop id behind an answer. Raises as ``from_tokenizer`` does."""
    mend = "Choose a shipped chat template: " + ", ".join(shipped_templates())
    try:
        prompt = draft.prompt_ids(_PROBE[:1])
        one, other = (draft._ids(draft.render(turns, generation=False)) for turns in (_PROBE, _OTHER))
    except Unusable as error:
        raise ModelError(error.message, mend) from error
    if one == other:
        raise ModelError("the chat template leaves out what the assistant says", mend)
    pairs = zip(reversed(one), reversed(other), strict=False)
    behind = len(one) - next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
    special = {key for key, token in draft.tokenizer.added_tokens_decoder.items() if token.special}
    ending = next((token for token in one[behind:] if token in special | draft.stop_ids), None)
    if ending is None:
        raise ModelError(
            "the chat template ends an assistant turn without any special token, so the model could never stop", mend
        )
    # A model whose prompts are no prefixes may still answer; encode refuses its rows, each by name.
    early = one[len(prompt) : behind] if one[: len(prompt)] == prompt else []
    found = next((token for token in early if token in draft.stop_ids | {ending}), None)
    if found is not None:
        raise ModelError(
            f"the chat template writes {draft.decode([found], special=True)} ({found}), a stop id, before an answer's "
            "end: a model would stop there, and learn nothing behind it",
            f"Take it out of eos_token_id (generation_config.json, config.json) and eos_token (tokenizer). Or: {mend}",
        )
    return ending


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

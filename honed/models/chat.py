"""The chat format: how a conversation becomes token ids, the same for training, evaluating, serving and showing.

One object holds the tokenizer, the chat template, the stop ids and the pad id; its hash goes into every manifest.
Supervision is found by ids, never by searching for text: what is learned of an assistant turn are the ids that a server
feeds before it and then, with a loss, those of the turn as the template writes it when it is the last one, up to and
including its stop id. The pad id plays no part, so pad == stop is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson

from honed.errors import HonedError, ModelError
from honed.models.calls import PROBE, PROBE_WORDS, as_plain, as_text, with_tools
from honed.models.spelling import SEAM, Placed, Spelling, alike
from honed.models.thought import Thought, marks_of, thought_of
from honed.records import Conversation, Message, digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DEFAULT_TEMPLATE = "plain"
"""Template of a model that brings none; it needs no token beyond the end-of-text one."""

_ASKED = (Message(role="user", content="a"),)


def _answered(said: str) -> tuple[Message, ...]:
    return (*_ASKED, Message(role="assistant", content=said))


_PROBE, _OTHER = map(_answered, "bc")
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

    ``closing`` is the text of the stop where a template has none behind an answer: the mark of a next turn ends it.
    ``clock`` is the time of templates that write today's date, None that of each call: a training that goes on
    tomorrow has to see today's rows.
    """

    tokenizer: PreTrainedTokenizerFast
    template: str
    stop_ids: frozenset[int]
    pad_id: int
    closing: str = ""
    clock: datetime | None = None

    @cached_property
    def hash(self) -> str:
        """16 hex digits over everything that decides which ids a conversation becomes."""
        backend = orjson.loads(self.tokenizer.backend_tokenizer.to_str())
        parts = {key: value for key, value in backend.items() if key not in ("padding", "truncation")}
        return digest([parts, self.template, sorted(self.stop_ids), self.pad_id])

    def render(self, messages: Sequence[Message], *, generation: bool) -> str:
        """Return the conversation as text; ``generation`` appends the header of an assistant turn.

        Tokens that are written in a message are data: ``Spelling.guarded`` keeps them text, so that no message can
        close its own turn or open another's where a token marks one. Tools, calls and results go through the template
        if it ``speaks_tools``, and are text otherwise. Raises ``Unusable`` if the template refuses the conversation.
        """
        if with_tools(messages) and not self.speaks_tools:
            messages = as_text(messages)
        plain, tools = as_plain(messages, self._spelling.guarded)
        return self._written(plain, tools, generation=generation)

    def _written(self, plain: list[dict[str, Any]], tools: list[dict[str, Any]], *, generation: bool) -> str:
        from jinja2.exceptions import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                plain,
                tools=tools or None,
                chat_template=self._dated,
                tokenize=False,
                add_generation_prompt=generation,
            )
        except TemplateError as error:
            raise Unusable("template", f"the chat template refuses this conversation: {error}", _another()) from error
        return str(text)

    @cached_property
    def speaks_tools(self) -> bool:
        """Whether the template has a form of its own for tools, calls and results; otherwise they are text.

        Told by trying: each of the three has to come out of it.
        """
        plain, tools = as_plain(PROBE, str)
        try:
            text = self._written(plain, tools, generation=False)
        except (Unusable, TypeError, KeyError):
            return False
        return all(word in text for word in PROBE_WORDS)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that a server feeds for these turns, generation header included."""
        return self._spelling.ids(self.render(messages, generation=True))

    @cached_property
    def opening(self) -> tuple[int, ...]:
        """The ids that ``prompt_ids`` ends with, whatever came before: those that open an assistant turn, if any do."""
        whole, before = self.prompt_ids(_ASKED), self._spelling.ids(self.render(_ASKED, generation=False))
        return tuple(whole[alike(whole, before) :])

    def encode(self, row: Conversation) -> Encoded:
        """Return the row's ids and loss weights: every answer that carries a loss, as a server would ask for it.

        An answer that the template writes otherwise when it isn't the last turn (Qwen3 drops the reasoning before it,
        gpt-oss ends it with another token), or than it is asked for (R1's prompts open a thought that its
        conversations don't have), is learned in a row of its own, which ends with it (``Encoded.apart``). Raises
        ``Unusable`` if an answer can't stand behind its prompt, has no stop id, or if nothing is supervised.
        """
        whole = self._spelling.placed(self.render(row.messages, generation=False) + self.closing)
        weights, apart = [0.0] * len(whole.ids), []
        for place, message in enumerate(row.messages, 1):
            if message.role != "assistant" or not message.weight:
                continue
            alone = self._learned(row.messages[:place], whole)
            end = max(at for at, weight in enumerate(alone.weights, 1) if weight)
            if tuple(whole.ids[:end]) == alone.ids[:end]:
                weights[:end] = map(max, weights[:end], alone.weights[:end])
            else:
                apart.append(alone)
        rows = [*([Encoded(tuple(whole.ids), tuple(weights))] if any(weights) else []), *apart]
        if not rows:
            raise Unusable("unsupervised", "no assistant token carries a loss", "Give a turn a weight above 0.")
        return replace(rows[0], apart=tuple(rows[1:]))

    @cached_property
    def rewrites(self) -> bool:
        """Whether the template writes an answer otherwise once turns follow it. Told by trying."""
        thoughts = marks_of(self.template)
        first = [_PROBE, *([_answered("r".join(thoughts) + "b")] if thoughts else [])]
        try:
            return any(self.encode(Conversation(messages=(*turns, *_OTHER))).apart for turns in first)
        except Unusable:
            return False

    def _learned(self, turns: Sequence[Message], whole: Placed) -> Encoded:
        """Return the row that ends in the last of ``turns``, which ``whole`` begins with. Raises as ``encode`` does."""
        asked, written = self.render(turns[:-1], generation=True), self.render(turns, generation=False)
        prompt, ids = self._spelling.ids(asked, whole), []
        if whole.text.startswith(written):
            ids = whole.until(len(written))
            ids = whole.ids[: len(ids) + bool(self.closing)]
        if not ids or (self.closing and ids[-1] not in self.stop_ids):
            ids = self._spelling.ids(written + self.closing, whole)
        if ids[: len(prompt)] != prompt:
            said = self._said(turns, asked, written + self.closing)
            ids = self._spelling.ids(asked + said, whole)
            if ids[: len(prompt)] != prompt:  # the answer's first characters would be one token with the header's last
                ids = self._spelling.ids(asked + SEAM + said, whole)
        weights = turn_weights(ids, len(prompt), turns[-1].weight, self.stop_ids)
        if not any(weights):
            raise Unusable("stop", f"turn {len(turns)}: no stop id ends it", _another())
        return Encoded(tuple(ids), tuple(weights))

    def _said(self, turns: Sequence[Message], asked: str, written: str) -> str:
        """Return the text of the last turn as it follows ``asked``, with the conversation being ``written`` otherwise.

        What a template does to the turns before (Mistral's writes the system's only into the last question) is left
        out by looking at the last two alone. A thought that the prompt opens and the turn doesn't have is the turn's
        own, or an empty one: everybody who reads such a model's answers takes what stands before its end for it.
        """
        if written.startswith(asked):
            return written[len(asked) :]
        opening, closing = marks_of(self.template) or ("\0", "\0")
        try:
            head = self.render(turns[-2:-1], generation=True)
            pair = self.render(turns[-2:], generation=False) + self.closing
        except Unusable:
            head = pair = ""
        if head and pair.startswith(head):
            return pair[len(head) :]
        before, mark, opened = head.rpartition(opening)
        if not mark or opened.replace(closing, "").strip() or not pair.startswith(before):
            what = f"turn {len(turns)}: its prompt's text is not the beginning of the row's"
            raise Unusable("prefix", what, f"The chat template rewrites what comes before an answer. {_another()}")
        said, thought = pair[len(before) :], turns[-1].content
        if closing in opened:
            return said
        if closing not in thought:
            return f"\n{closing}\n\n{said}"
        reasoning, _, answer = thought.split(opening, 1)[-1].lstrip("\n").rpartition(closing)
        gap = answer[: len(answer) - len(answer.lstrip("\n"))]
        return self._spelling.guarded(reasoning) + closing + gap + said.rpartition(closing)[2].lstrip("\n")

    @cached_property
    def _spelling(self) -> Spelling:
        """The tokenizer. Only templates write its special tokens, and those that mark turns (R1's aren't special).

        A thought is no turn: its marks are tokens in answers too, where templates look for them.
        """
        added, bare = self.tokenizer.added_tokens_decoder, Spelling(self.tokenizer, ())
        plain = as_plain(_ASKED, str)[0]
        try:
            said, asked = (bare.ids(self._written(plain, [], generation=generation)) for generation in (False, True))
        except Unusable:
            said, asked = [], []
        header = asked[len(said) :] if asked[: len(said)] == said else []
        turning = [added[key].content for key in (*said, *[key for key in header if key in added][:1]) if key in added]
        marks = [text for text in turning if text.strip() and not text[0].isalnum()]
        marks += [token.content for token in added.values() if token.special]
        thoughts = marks_of(self.template) or ()
        return Spelling(self.tokenizer, [text for text in marks if not any(text in mark for mark in thoughts)])

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
    ends = (tokenizer.pad_token_id, tokenizer.eos_token_id)  # what is published has more stops, and must give this pad
    pad = next((end for end in ends if end is not None), min(stops, default=0))
    draft = ChatFormat(tokenizer, source, frozenset(stops), int(pad))
    ending, closing = _ending(draft)
    return replace(draft, stop_ids=draft.stop_ids | {ending}, closing=closing)


def _ending(draft: ChatFormat) -> tuple[int, str]:
    """Return the first special token or stop id behind an answer, and its text if only a next turn brings it (GLM).

    Raises as ``from_tokenizer`` does.
    """
    mend = "Choose a shipped chat template: " + ", ".join(shipped_templates())
    try:
        prompt = draft.prompt_ids(_ASKED)
        one, behind = _told_apart(draft)
    except Unusable as error:
        raise ModelError(error.message, mend) from error
    if behind < 0:
        raise ModelError("the chat template leaves out what the assistant says", mend)
    special = {key for key, token in draft.tokenizer.added_tokens_decoder.items() if token.special}
    ending = next((token for token in one[behind:] if token in special | draft.stop_ids), None)
    closing = ""
    if ending is None and (ending := _next_mark(draft)) is not None:
        closing = draft.decode([ending], special=True)
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
    return ending, closing


def _next_mark(draft: ChatFormat) -> int | None:
    """Return the stop id that a next turn brings behind an answer; None if it brings none, or there may be no next."""
    try:
        ids, behind = _told_apart(draft, _ASKED)
    except Unusable:
        return None
    return ids[behind] if 0 <= behind < len(ids) and ids[behind] in draft.stop_ids else None


def _told_apart(draft: ChatFormat, behind: tuple[Message, ...] = ()) -> tuple[list[int], int]:
    """Return the ids of a conversation whose answer has ``behind`` behind it, and where they go on; -1: no answer."""
    one, other = (draft._spelling.ids(draft.render((*turns, *behind), generation=False)) for turns in (_PROBE, _OTHER))
    if one == other:
        return one, -1
    return one, len(one) - alike(one[::-1], other[::-1])


def shipped_templates() -> list[str]:
    """Return the names of the chat templates that come with honed."""
    return sorted(path.name.removesuffix(".jinja") for path in _templates().iterdir() if path.name.endswith(".jinja"))


def _another() -> str:
    return f"Another chat template may do: --set template=NAME, of {', '.join(shipped_templates())}."


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

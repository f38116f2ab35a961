"""The nouns that travel between stages: frozen records, without torch and without behaviour.

Message        one turn: who says what, and which tools it calls
ToolCall       a tool that an assistant turn calls, with its arguments
Check          which verifier judges an answer, and with what parameters
Conversation   turns whose assistant messages are the ideal responses; one training or held-out row
Preference     two answers to one prompt, one of them preferred
Rating         an answer and whether it was found good
Sample         one answer that a model gave to a conversation's prompt
Score          what a verifier said of an answer, and why
Fault          what is wrong with a row, and where
Interaction    one answer that a served model gave to a person
FeedbackEvent  what a person said of it
Consent        what a person allows their words to be used for
WantedRows     rows of one kind that a model would be helped by, and how many
RowsWanted     all kinds that an error analysis asks for: what evaluation hands to the data stage
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Role = Literal["system", "user", "assistant", "tool"]
Split = Literal["train", "heldout"]
Severity = Literal["fault", "warning"]

ATTRIBUTES = ("audience", "locale", "expertise", "age_band")
"""Tags that say whom a row is for or from. They are read where somebody declared them, and never inferred."""


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(Record):
    """A call of a tool: its name, the arguments as JSON values, and an id that its result refers to, or ""."""

    name: str
    arguments: Mapping[str, Any] = {}
    id: str = ""


class Message(Record):
    """One turn of a conversation.

    An assistant turn may call tools (``tool_calls``; its content may be empty then); a turn of the role ``tool`` is
    what a tool gave back, to the call ``tool_call_id`` of the tool ``name`` where these are known. ``tools``, on the
    first turn only, are those that may be called, each a JSON schema of a function (name, description, parameters): so
    a prompt brings its tools along, wherever it goes. Empty fields of tools are left out when a turn is written.
    """

    role: Role
    content: str
    weight: float = Field(default=1.0, ge=0, description="loss weight of this turn; read for assistant turns only")
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()

    @model_serializer(mode="wrap")
    def _plain(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = write(self)
        return {key: value for key, value in plain.items() if value or key not in _OF_TOOLS}


_OF_TOOLS = frozenset({"tool_calls", "tool_call_id", "name", "tools"})


class Check(Record):
    """How an answer is judged: a verifier's registered name and its parameters (JSON values only)."""

    verifier: str
    params: Mapping[str, Any] = {}


class Conversation(Record):
    """One instruction row: turns that end in an assistant message, which is the ideal response.

    ``tags`` say what the row is (``task``, ``benefit``, ``audience``, ``source`` ...); metrics are grouped by them.
    ``events`` are the ids of the interactions and feedback that the row was derived from; an imported row has none.
    ``declared`` says where each attribute of people among the tags was declared: ``column audience`` of a file,
    ``operator`` at an import, ``person`` in feedback.
    """

    messages: tuple[Message, ...]
    tags: Mapping[str, str] = {}
    check: Check | None = None
    events: tuple[str, ...] = ()
    declared: Mapping[str, str] = {}

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the final answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The ideal final response."""
        return self.messages[-1].content

    @property
    def id(self) -> str:
        """Content hash of the turns (16 hex digits): equal rows have equal ids, whatever their tags."""
        return turns_id(self.messages)

    @property
    def prompt_id(self) -> str:
        """Content hash of the prompt: rows that differ only in their answer share it."""
        return turns_id(self.prompt)


class Preference(Record):
    """Two answers to one prompt, ``chosen`` preferred to ``rejected``; the rest as in ``Conversation``."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    tags: Mapping[str, str] = {}
    events: tuple[str, ...] = ()
    declared: Mapping[str, str] = {}

    @property
    def id(self) -> str:
        """Content hash of prompt and both answers (16 hex digits)."""
        return digest([_said(self.prompt), self.chosen, self.rejected])

    @property
    def prompt_id(self) -> str:
        """Content hash of the prompt, the same as that of a ``Conversation`` with this prompt."""
        return turns_id(self.prompt)

    def row(self, answer: str) -> Conversation:
        """Return the prompt with ``answer`` as a conversation whose last turn alone carries a loss."""
        return _answered(self.prompt, answer, self.tags, self.declared)


class Rating(Record):
    """An answer that a person found good or not, and why; the rest as in ``Conversation``."""

    prompt: tuple[Message, ...]
    answer: str
    good: bool
    reason: str = ""
    tags: Mapping[str, str] = {}
    events: tuple[str, ...] = ()
    declared: Mapping[str, str] = {}

    @property
    def id(self) -> str:
        """Content hash of prompt, answer and verdict (16 hex digits)."""
        return digest([_said(self.prompt), self.answer, self.good])

    @property
    def prompt_id(self) -> str:
        """Content hash of the prompt, the same as that of a ``Conversation`` with this prompt."""
        return turns_id(self.prompt)

    def row(self) -> Conversation:
        """Return prompt and answer as a conversation whose last turn alone carries a loss."""
        return _answered(self.prompt, self.answer, self.tags, self.declared)


class Interaction(Record):
    """One answer that a served model gave, as it was stored before it was acknowledged.

    ``model`` is the exact version (``name@vN``) even when an alias was asked for; ``subject`` is a pseudonym;
    ``segments`` are attributes that the operator declared and the person stated; ``pair`` is the id that two answers
    shown side by side share, or empty; ``simulated`` says that no person was there. ``created`` is Unix time.
    """

    id: str
    created: float
    prompt: tuple[Message, ...]
    answer: str
    finish: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    tokens: int
    model: str
    model_hash: str
    template_hash: str
    sampling: Mapping[str, Any]
    subject: str
    segments: Mapping[str, str] = {}
    pair: str = ""
    simulated: bool = False


class FeedbackEvent(Record):
    """What a person said of an answer.

    A ``thumb`` has ``good`` and perhaps a ``reason``; an ``edit`` has the better ``text``; a ``choice`` prefers
    ``interaction`` to the interaction ``rejected``, shown beside it.
    """

    id: str
    created: float
    kind: Literal["thumb", "edit", "choice"]
    interaction: str
    subject: str
    good: bool | None = None
    reason: str = ""
    text: str = ""
    rejected: str = ""


class Consent(Record):
    """What a person allowed, or no longer allows. The newest one for a subject and purpose holds."""

    subject: str
    purpose: Literal["train"]
    granted: bool
    created: float


class Score(Record):
    """A verifier's verdict: ``passed`` and the reason, as a sentence a person can act on.

    ``value`` is how good the answer is, from 0 to 1, where the verifier can say more than yes or no; None elsewhere.
    """

    passed: bool
    why: str
    value: float | None = Field(default=None, ge=0, le=1)


class WantedRows(Record):
    """One kind of rows that would help: those whose ``tags`` (``task``, ``audience`` ...) and constraint are these.

    ``verifier`` is a registered verifier and ``constraint`` what it is to ask for: the id of an instruction of the
    family ``verifier``, or the name of one of its parameters; both are "" where the kind is one of tags or language
    only. ``count`` rows are suggested by ``RowsWanted.rule``. ``n`` held-out answers of this kind were judged and
    ``failed`` of them failed; ``shown`` says whether that is shown to be worse than the rest. ``reasons`` are the
    verifiers' most frequent ones, without their numbers. ``examples`` are ids of held-out rows, to be looked at.
    """

    tags: Mapping[str, str] = {}
    verifier: str = ""
    constraint: str = ""
    language: str = ""
    count: int = Field(ge=1)
    n: int
    failed: int
    shown: bool
    why: str
    reasons: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class RowsWanted(Record):
    """What kinds of rows would help a model, the most wanted first: the document that ``honed errors`` writes.

    ``examples`` name rows of ``data`` (``split``), which measures this model: none may be copied, or reworded, into
    training data. ``caution`` says so to whoever reads the document.
    """

    document: Literal["honed/rows-wanted/1"] = "honed/rows-wanted/1"
    model: str
    evaluation: str
    data: str
    data_hash: str
    split: Split
    rule: str
    caution: str
    wanted: tuple[WantedRows, ...]


class Fault(Record):
    """What is wrong with one row of a file. Printed as ``file:line: field: message``.

    A ``fault`` makes the row unusable; a ``warning`` is only suspicious, and the row is used. ``row`` is the row's
    number in the file, from 1, where several rows stand on one line and the line doesn't tell it; it is None, and left
    out when the fault is written, elsewhere.
    """

    file: str
    line: int
    field: str
    kind: str
    message: str
    hint: str = ""
    severity: Severity = "fault"
    row: int | None = None

    @model_serializer(mode="wrap")
    def _plain(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = write(self)
        return {key: value for key, value in plain.items() if key != "row" or value is not None}

    def __str__(self) -> str:
        places = [] if self.row is None else [f"row {self.row}"]
        if self.row is None or self.field != "row":
            places.append(self.field)
        return ": ".join([f"{self.file}:{self.line}", *places, self.message])


class Said(Protocol):
    """Who says what, calling which tools: a ``Message``, or what has its attributes."""

    @property
    def role(self) -> Role: ...  # noqa: D102 - as in ``Message``

    @property
    def content(self) -> str: ...  # noqa: D102

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]: ...  # noqa: D102

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]: ...  # noqa: D102


def turns_id(turns: Iterable[Said]) -> str:
    """Return the content hash (16 hex digits) of who says what in ``turns``, with which tools; weights play no part."""
    return digest(_said(turns))


def prompt_ids(turns: Sequence[Said]) -> list[str]:
    """Return the ids of the prompts that the assistant turns among ``turns`` answer, the last one's last."""
    return [turns_id(turns[:at]) for at, turn in enumerate(turns) if turn.role == "assistant"]


class Ids(NamedTuple):
    """Ids of many rows and of their prompts, 8 bytes each.

    ``before`` has by index, of each row that answers several prompts, the ids of all but the last, as numbers.
    """

    rows: bytes
    prompts: bytes
    before: dict[int, tuple[int, ...]]


def plain_ids(roles: Iterable[str], texts: Iterable[str], ends: Sequence[int], *, prompts: bool) -> Ids:
    """Return the ids of many rows of turns without tools, and (``prompts``) those of the prompts that they answer.

    In hex they are what ``turns_id`` gives; the turns of row i are ``texts[ends[i - 1]:ends[i]]``.
    """
    before = {}
    said = [_OPENED[role] + orjson.dumps(text) + b"]" for role, text in zip(roles, texts, strict=True)]
    if isinstance(ends, range) and ends.step == 2:  # a prompt and an answer each: most rows
        asked = said[::2]
        answers = said[1::2]
    else:
        starts = [0, *ends][:-1]
        asked = [b",".join(said[start : end - 1]) for start, end in zip(starts, ends, strict=True)]
        answers = [said[end - 1] for end in ends]
        if prompts:
            found = [_answered_before(said[start : end - 1]) for start, end in zip(starts, ends, strict=True)]
            before = {at: some for at, some in enumerate(found) if some}
    both = zip(asked, answers, strict=True)
    whole = [hashlib.sha256(b"[" + prompt + b"," + answer + b"]").digest()[:8] for prompt, answer in both]
    ids = [hashlib.sha256(b"[" + prompt + b"]").digest()[:8] for prompt in asked] if prompts else []
    return Ids(b"".join(whole), b"".join(ids), before)


def _answered_before(prompt: Sequence[bytes]) -> tuple[int, ...]:
    """Return the ids of the prompts that the answers within a prompt are to; the hash is carried along the turns."""
    found = []
    said = hashlib.sha256(b"[")
    for at, turn in enumerate(prompt):
        if turn.startswith(_OPENED["assistant"]):
            here = said.copy()
            here.update(b"]")
            found.append(int.from_bytes(here.digest()[:8]))
        said.update(b"," + turn if at else turn)
    return tuple(found)


_OPENED = {role: b'["%s",' % role.encode() for role in ("system", "user", "assistant")}


def _said(turns: Iterable[Said]) -> list[list[Any]]:
    return [
        [turn.role, turn.content, [[call.name, call.arguments] for call in turn.tool_calls], turn.tools]
        if turn.tool_calls or turn.tools
        else [turn.role, turn.content]
        for turn in turns
    ]


def _answered(
    prompt: Iterable[Message], answer: str, tags: Mapping[str, str], declared: Mapping[str, str]
) -> Conversation:
    turns = tuple(turn.model_copy(update={"weight": 0.0}) for turn in prompt)
    return Conversation(messages=(*turns, Message(role="assistant", content=answer)), tags=tags, declared=declared)


def digest(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of ``value`` as compact JSON in UTF-8 with sorted keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

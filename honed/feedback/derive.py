"""From what people said to records that can be learned from: a pure function, versioned.

    edit           an SFT row whose answer is the edit, and a preference of the edit to the answer
    choice         a preference of the chosen answer to the other
    a lone thumb   a rating (one beside an edit of the same answer says less than the edit)

Only of people who allow training; a person's last word on an answer holds; every record names its events; everything
that isn't used is listed with its reason. The same input gives the same output, in whatever order it comes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from honed.config import Config
from honed.records import Consent, Conversation, FeedbackEvent, Interaction, Message, Preference, Rating, Record

VERSION = 1
"""Raised whenever the same events would give other records."""

_Key = tuple[object, ...]


class DeriveConfig(Config):
    """What may be derived, and how much of one person."""

    per_person: int = Field(
        default=50,
        ge=1,
        description="most events used of one person, so that no one speaks for all; the newest, since they judge the "
        "models nearest to the one that will learn from them",
    )
    models: tuple[str, ...] = Field(
        default=(),
        description="use only what was said of these models (name@vN, or name for all its versions); empty: of all",
    )


class LeftOut(Record):
    """An event that gave no record, and why, as a sentence."""

    event: str
    reason: str


class Derived(Record):
    """What was derived, in order of the events, and what was left out; ``version`` is that of the function."""

    rows: tuple[Conversation, ...] = ()
    preferences: tuple[Preference, ...] = ()
    ratings: tuple[Rating, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    version: int = VERSION


@dataclass
class _Sheet:
    """The answers that events are about, and the records so far."""

    answers: Mapping[str, Interaction]
    rows: list[Conversation] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)


def derive(
    interactions: Iterable[Interaction],
    feedback: Iterable[FeedbackEvent],
    consents: Iterable[Consent],
    settings: DeriveConfig,
) -> Derived:
    """Return the rows, preferences and ratings that follow from what people said and allowed.

    ``interactions`` may hold more than the feedback is about. Nothing is read but the arguments.
    """
    sheet = _Sheet({one.id: one for one in interactions})
    words = _words(consents)
    events = sorted({one.id: one for one in feedback}.values(), key=_when)
    left: dict[str, str] = {}
    standing = [one for one in events if not _note(left, one, _barred(one, sheet.answers, words, settings))]
    last = {_matter(one): one for one in standing}
    edited = {(one.subject, one.interaction) for one in standing if one.kind == "edit"}
    standing = [
        one for one in standing if not _note(left, one, _overruled(one, last, edited) or _unusable(one, sheet.answers))
    ]
    used: dict[str, int] = defaultdict(int)
    for one in reversed(standing):
        used[one.subject] += 1
        if used[one.subject] > settings.per_person:
            left[one.id] = f"the person said more than the {settings.per_person} newest things that are used"
    for one in standing:
        if one.id not in left:
            _record(one, sheet)
    return Derived(
        rows=tuple(sheet.rows),
        preferences=tuple(sheet.preferences),
        ratings=tuple(sheet.ratings),
        left_out=tuple(LeftOut(event=one.id, reason=left[one.id]) for one in events if one.id in left),
    )


def unfit(prompt: Sequence[Message], answer: str) -> str:
    """Return why a prompt and its answer can't be an instruction row, or "" if they can."""
    roles = [turn.role for turn in prompt]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if any(role != ("user", "assistant")[place % 2] for place, role in enumerate(turns)) or len(turns) % 2 == 0:
        return "the prompt's turns are not user and assistant by turns, the user last"
    if not all(turn.content.strip() for turn in prompt):
        return "a turn of the prompt is empty"
    if not answer.strip():
        return "the answer is empty"
    if "\0" in answer or any("\0" in turn.content for turn in prompt):
        return "a text holds a NUL character"
    return ""


def allowed(consents: Iterable[Consent]) -> frozenset[str]:
    """Return the people who allow training: whose newest word does. Of two of one moment, the refusal holds."""
    return frozenset(subject for subject, newest in _words(consents).items() if newest.granted)


def _words(consents: Iterable[Consent]) -> dict[str, Consent]:
    """Return each person's newest word."""
    words = sorted((one for one in consents if one.purpose == "train"), key=lambda one: (one.created, not one.granted))
    return {one.subject: one for one in words}


def _when(event: FeedbackEvent) -> tuple[float, str]:
    return event.created, event.id


def _note(left: dict[str, str], event: FeedbackEvent, reason: str) -> bool:
    if reason:
        left[event.id] = reason
    return bool(reason)


def _matter(event: FeedbackEvent) -> _Key:
    """What an event is about: a later one of the same person and matter takes its place."""
    about = frozenset((event.interaction, event.rejected)) if event.kind == "choice" else event.interaction
    return event.subject, event.kind, about


def _barred(
    event: FeedbackEvent, answers: Mapping[str, Interaction], words: Mapping[str, Consent], settings: DeriveConfig
) -> str:
    """Why an event may not be used, whatever it says."""
    about = [answers.get(id_) for id_ in (event.interaction, event.rejected) if id_]
    known = [one for one in about if one]
    if len(known) < len(about):
        return "the answer it is about isn't there"
    if any(one.subject != event.subject for one in known):
        return "the answer was given to another person"
    if event.subject not in words:
        return "the person was never asked whether it may be used for training"
    if not words[event.subject].granted:
        return "the person doesn't allow training"
    names = {name for one in known for name in (one.model, one.model.partition("@")[0])}
    if settings.models and not names & set(settings.models):
        return "it is about another model"
    return ""


def _overruled(event: FeedbackEvent, last: Mapping[_Key, FeedbackEvent], edited: set[tuple[str, str]]) -> str:
    """Why another word of the same person says more."""
    if last[_matter(event)] is not event:
        return "the person said it anew later"
    if event.kind == "thumb" and (event.subject, event.interaction) in edited:
        return "the person's edit of the same answer says more"
    return ""


def _unusable(event: FeedbackEvent, answers: Mapping[str, Interaction]) -> str:
    """Why nothing can be learned from what an event says."""
    about = answers[event.interaction]
    if event.kind == "edit":
        return "the edit changes nothing" if event.text == about.answer else unfit(about.prompt, event.text)
    if event.kind == "thumb":
        return unfit(about.prompt, about.answer) or _stopped(about)
    other = answers[event.rejected]
    if about.prompt != other.prompt:
        return "the two answers are to different prompts"
    if about.answer == other.answer:
        return "the two answers are the same"
    if about.finish == "length":
        return "the chosen answer is cut off, and would teach to end there"
    if not other.answer.strip():
        return "the other answer is empty"
    return unfit(about.prompt, about.answer) or _stopped(about) or _stopped(other)


def _stopped(answer: Interaction) -> str:
    return "the person stopped the answer before its end" if answer.finish == "cancelled" else ""


def _record(event: FeedbackEvent, sheet: _Sheet) -> None:
    """Add the records that an event gives."""
    about = sheet.answers[event.interaction]
    source = "simulated feedback" if about.simulated else "feedback"
    tags = {**about.segments, "source": source, "model": about.model}
    declared = dict.fromkeys(about.segments, "person")
    events = tuple(id_ for id_ in (event.interaction, event.rejected, event.id) if id_)
    if event.kind == "thumb":
        assert event.good is not None
        rating = Rating(
            prompt=about.prompt,
            answer=about.answer,
            good=event.good,
            reason=event.reason,
            tags=tags,
            events=events,
            declared=declared,
        )
        sheet.ratings.append(rating)
        return
    chosen = event.text if event.kind == "edit" else about.answer
    rejected = about.answer if event.kind == "edit" else sheet.answers[event.rejected].answer
    pair = Preference(
        prompt=about.prompt, chosen=chosen, rejected=rejected, tags=tags, events=events, declared=declared
    )
    if event.kind == "edit":
        sheet.rows.append(pair.row(chosen).model_copy(update={"events": events}))
    # What a person cut short, or what ended inside its reasoning, isn't what the model would have said.
    if not _stopped(about) and rejected.strip():
        sheet.preferences.append(pair)

"""What was answered, what people said of it and what they allow: written durably, read in order of creation.

Torch-free, and safe from any number of threads and processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Subquery, Table, and_, case, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from honed.errors import RequestError
from honed.records import Consent, FeedbackEvent, Interaction, Message, Record
from honed.store import tables
from honed.store.database import Database

_PAGE = 500
"""Rows read at once: an iterator holds that many, and no transaction between them."""


class Interactions:
    """The interactions, feedback and consents of a database. A write is committed and durable when it returns.

    Texts that are not Unicode (lone surrogates), or a NUL character in an id or name, are a ``RequestError`` (400).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, interaction: Interaction) -> None:
        """Store an answer. Its id must be new."""
        values = _values(interaction)
        with self._database.writing() as connection:
            connection.execute(insert(tables.interactions), values)

    def get(self, id: str) -> Interaction | None:  # noqa: A002 - the record's own name for it
        """Return the interaction, or None if there is none of that id."""
        if not _plain(id):
            return None
        query = select(tables.interactions).where(tables.interactions.c.id == id)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return _interaction(dict(row)) if row else None

    def add_feedback(self, event: FeedbackEvent, nonces: Sequence[str]) -> None:
        """Store an event and use up its tokens' nonces, both or neither.

        Raises ``RequestError`` (409, ``used_token``) if one was used before. The interactions must be stored.
        """
        values = {**_values(event), "rejected": event.rejected or None}
        used = [{"nonce": nonce, "feedback": event.id} for nonce in nonces]
        with self._database.writing() as connection:
            connection.execute(insert(tables.feedback), values)
            try:
                connection.execute(insert(tables.used_tokens), used)
            except IntegrityError as error:
                raise RequestError(
                    "this feedback token was used before",
                    "Send the fresh token that came back with the feedback before this.",
                    status=409,
                    code="used_token",
                    param="token",
                ) from error

    def get_feedback(self, id: str) -> FeedbackEvent | None:  # noqa: A002 - as above
        """Return the feedback event, or None if there is none of that id."""
        if not _plain(id):
            return None
        query = select(tables.feedback).where(tables.feedback.c.id == id)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return _event(dict(row)) if row else None

    def set_consent(self, consent: Consent) -> None:
        """Store what a person allows, or no longer allows, from now on. What they said before is kept as history."""
        table, values = tables.consents, _values(consent)
        said = select(func.max(table.c.created)).where(table.c.subject == consent.subject)
        with self._database.writing() as connection:
            # A clock that was set back must not put a refusal before the consent that it takes back.
            last = connection.execute(said.where(table.c.purpose == consent.purpose)).scalar()
            values["created"] = consent.created if last is None else max(consent.created, last)
            connection.execute(insert(table), values)

    def consent_of(self, subject: str, purpose: str) -> bool | None:
        """Return whether a person allows ``purpose``, or None if they were never asked.

        The newest word holds; of two of the same moment, the refusal.
        """
        table = tables.consents
        query = (
            select(table.c.granted)
            .where(table.c.subject == subject, table.c.purpose == purpose)
            .order_by(table.c.created.desc(), table.c.granted)
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def interactions(self, *, model: str = "", since: float = 0.0, rated: bool = False) -> Iterator[Interaction]:
        """Yield interactions in order of creation: of one model (``name@vN``), from a Unix time on.

        ``rated`` leaves out those of which nobody said anything.
        """
        table, said = tables.interactions, tables.feedback
        wanted = [table.c.created >= since]
        if model:
            wanted.append(table.c.model == model)
        if rated:
            wanted.append(select(said.c.seq).where(_about(table.c.id)).exists())
        return map(_interaction, self._pages(table, wanted))

    def feedback(self, *, kind: str = "", since: float = 0.0, interaction: str = "") -> Iterator[FeedbackEvent]:
        """Yield feedback in order of creation: of one kind, from a Unix time on, about one interaction."""
        table = tables.feedback
        wanted: list[ColumnElement[bool]] = [table.c.created >= since]
        if kind:
            wanted.append(table.c.kind == kind)
        if interaction:
            wanted.append(_about(interaction))
        return map(_event, self._pages(table, wanted))

    def consents(self) -> Iterator[Consent]:
        """Yield every word on consent, in order of creation."""
        return map(_consent, self._pages(tables.consents, []))

    def counts(self) -> dict[str, Any]:
        """Return how much there is: interactions (simulated ones too), feedback by kind, people and their consent."""
        table, said = tables.interactions, tables.feedback
        with self._database.reading() as connection:
            total, people = connection.execute(select(func.count(), func.count(table.c.subject.distinct()))).one()
            simulated = connection.execute(select(func.count()).where(table.c.simulated)).scalar_one()
            kinds = connection.execute(select(said.c.kind, func.count()).group_by(said.c.kind)).all()
            words = connection.execute(select(_newest_words().c.granted, func.count()).group_by("granted")).all()
        allowed = {bool(granted): count for granted, count in words}
        return {
            "interactions": total,
            "simulated": simulated,
            "people": people,
            "feedback": dict.fromkeys(("thumb", "edit", "choice"), 0) | {row[0]: row[1] for row in kinds},
            "consent": {"granted": allowed.get(True, 0), "refused": allowed.get(False, 0)},
        }

    def _pages(self, table: Table, wanted: Sequence[ColumnElement[bool]]) -> Iterator[Mapping[str, Any]]:
        """Yield rows by ``seq``, a page at a time, so that no reader holds up a writer or the file's clean-up."""
        last = 0
        while True:
            query: Select[Any] = select(table).where(and_(table.c.seq > last, *wanted)).order_by(table.c.seq)
            with self._database.reading() as connection:
                page = connection.execute(query.limit(_PAGE)).mappings().all()
            for row in page:
                yield dict(row)
            if len(page) < _PAGE:
                return
            last = page[-1]["seq"]


def _newest_words() -> Subquery:
    """Whether each person's newest word allows training (1 or 0); of two of the same moment, the refusal."""
    table = tables.consents
    newest = select(table.c.subject, func.max(table.c.created).label("created")).group_by(table.c.subject).subquery()
    said = select(table.c.subject, func.min(case((table.c.granted, 1), else_=0)).label("granted"))
    joined = said.join(newest, and_(table.c.subject == newest.c.subject, table.c.created == newest.c.created))
    return joined.group_by(table.c.subject).subquery()


def _about(interaction: Any) -> ColumnElement[bool]:
    return or_(tables.feedback.c.interaction == interaction, tables.feedback.c.rejected == interaction)


def _values(record: Record) -> dict[str, Any]:
    """Return a record as a row's values; refuse what a database can't hold, the same on every one."""
    values = record.model_dump()
    try:
        orjson.dumps(values)
    except TypeError as error:  # a lone surrogate, or a number of more than 64 bits
        raise _unstorable(str(error)) from error
    for key, value in values.items():
        if isinstance(value, str) and key not in _TEXTS and not _plain(value):
            raise _unstorable(f"a NUL character in {key!r}")
    return values


_TEXTS = frozenset({"answer", "reason", "text"})
"""Columns of JSON, which may hold a NUL character."""


def _plain(name: str) -> bool:
    """Whether every database can hold ``name`` in a column of plain text."""
    return "\0" not in name and name == name.encode(errors="replace").decode()


def _unstorable(what: str) -> RequestError:
    return RequestError(f"this can't be stored: {what}", "Send plain Unicode text.", code="invalid_text")


def _interaction(row: Mapping[str, Any]) -> Interaction:
    values = _without_seq(row)
    return Interaction(**{**values, "prompt": tuple(Message(**turn) for turn in values["prompt"])})


def _event(row: Mapping[str, Any]) -> FeedbackEvent:
    values = _without_seq(row)
    return FeedbackEvent(**{**values, "rejected": values["rejected"] or ""})


def _consent(row: Mapping[str, Any]) -> Consent:
    return Consent(**_without_seq(row))


def _without_seq(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seq"}

"""The database's tables, as the newest revision has them; the migrations make them, and a test holds both equal.

What people and models write is kept as JSON: PostgreSQL's ``text`` can't hold a NUL character, its ``json`` can, and
SQLite is the same to both. ``seq`` is the order of creation, whatever the clocks said.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

metadata = MetaData()

_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER key

interactions = Table(
    "interactions",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("finish", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("model", String, nullable=False),
    Column("model_hash", String, nullable=False),
    Column("template_hash", String, nullable=False),
    Column("sampling", JSON, nullable=False),
    Column("subject", String, nullable=False),
    Column("segments", JSON, nullable=False),
    Column("pair", String, nullable=False),
    Column("simulated", Boolean, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("interaction", String, ForeignKey("interactions.id"), nullable=False),
    Column("subject", String, nullable=False),
    Column("good", Boolean, nullable=True),
    Column("reason", JSON, nullable=False),
    Column("text", JSON, nullable=False),
    Column("rejected", String, ForeignKey("interactions.id"), nullable=True),
    CheckConstraint("kind IN ('thumb', 'edit', 'choice')", name="feedback_kind"),
    Index("feedback_interaction", "interaction"),
    Index("feedback_rejected", "rejected"),
)

consents = Table(
    "consents",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("subject", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Index("consents_subject", "subject", "purpose"),
)

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("nonce", String, primary_key=True),
    Column("feedback", String, ForeignKey("feedback.id"), nullable=False),
)

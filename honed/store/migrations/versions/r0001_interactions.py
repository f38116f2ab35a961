"""Interactions, feedback, consents and used tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first four tables."""
    op.create_table(
        "interactions",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("prompt", sa.JSON, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("finish", sa.String, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("model_hash", sa.String, nullable=False),
        sa.Column("template_hash", sa.String, nullable=False),
        sa.Column("sampling", sa.JSON, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("segments", sa.JSON, nullable=False),
        sa.Column("pair", sa.String, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
    )
    op.create_table(
        "feedback",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("interaction", sa.String, sa.ForeignKey("interactions.id"), nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("good", sa.Boolean, nullable=True),
        sa.Column("reason", sa.JSON, nullable=False),
        sa.Column("text", sa.JSON, nullable=False),
        sa.Column("rejected", sa.String, sa.ForeignKey("interactions.id"), nullable=True),
        sa.CheckConstraint("kind IN ('thumb', 'edit', 'choice')", name="feedback_kind"),
    )
    op.create_index("feedback_interaction", "feedback", ["interaction"])
    op.create_index("feedback_rejected", "feedback", ["rejected"])
    op.create_table(
        "consents",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_index("consents_subject", "consents", ["subject", "purpose"])
    op.create_table(
        "used_tokens",
        sa.Column("nonce", sa.String, primary_key=True),
        sa.Column("feedback", sa.String, sa.ForeignKey("feedback.id"), nullable=False),
    )

"""Reasoning before an answer: the marks that a model's chat template puts around it."""

from __future__ import annotations

MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))
"""Opening and closing marks: Qwen, DeepSeek and most others; Mistral (Magistral); Gemma 4."""


def marks_of(template: str) -> tuple[str, str] | None:
    """Return the marks of reasoning that a chat template knows: those whose closing one stands in it."""
    return next((marks for marks in MARKS if marks[1] in template), None)

"""The help desk of Quillmere, an invented maker of small things for home and garden: who reads, and the standing words.

The system prompt is the only text that training and held-out rows share: it holds the desk's fixed words (queues,
JSON, the forms of the replies), so that everything a verifier asks for is stated in the prompt.
"""

from __future__ import annotations

from typing import Literal

Audience = Literal["general", "child", "expert", "second_language"]
Benefit = Literal["precision", "specificity", "context", "misinterpretation"]

COMPANY = "Quillmere"
AUDIENCES: tuple[Audience, ...] = ("general", "child", "expert", "second_language")


def system(audience: Audience, rule: str) -> str:
    """Return the system prompt: the desk, its reader and the family's standing ``rule``."""
    return f"{COMPANY} help desk. Reader: {audience.replace('_', ' ')}. {rule}"

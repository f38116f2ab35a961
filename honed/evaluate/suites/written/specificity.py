"""Short texts under stated constraints: does the answer do exactly what was asked?"""

from __future__ import annotations

from honed.evaluate.suites.written.row import Row, Written, row
from honed.evaluate.suites.written.topics import (
    LOWER,
    NO_COMMA,
    QUOTED,
    TITLED,
    TOPICS,
    UPPER,
    Rule,
    bullets,
    check,
    ends,
    holds,
    lacks,
    over,
    render,
    said,
    under,
)

_SETS: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("case", (LOWER, over(8))),
    ("case", (UPPER, over(8))),
    ("list", (bullets(2),)),
    ("list", (bullets(3), ends("That is all."))),
    ("ending", (ends("Ask me for more."),)),
    ("frame", (QUOTED, under(40))),
    ("frame", (TITLED, NO_COMMA)),
    ("words", (holds("really"), under(30))),
    ("words", (lacks("very"), NO_COMMA, ends("The end."))),
)
_ASKS = ("Write two sentences about {}.", "Tell me something about {}.", "What should I know about {}?", "Describe {}.")


def _rows() -> list[Row]:
    found: list[Row] = []
    for place, topic in enumerate(TOPICS):
        for turn in range(4):
            kind, rules = _SETS[(place * 4 + turn) % len(_SETS)]
            ask = _ASKS[turn].format(topic.name)
            tags = {"benefit": "specificity", "task": f"constraint_{kind}"}
            ideal = render(topic.sentences, rules)
            found.append(row(f"specificity-{len(found):03}", f"{ask} {said(rules)}", check(rules), tags, ideal))
    return found


SUITE = Written("specificity", "Short texts under constraints that are stated", 96, _rows)

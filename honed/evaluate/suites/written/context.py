"""Four turns: two rules, a question, an amendment of one rule, and a plain question to which both must still hold."""

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
    lacks,
    render,
    said,
)

# the rule that is amended, what it becomes, the rule that stays
_KINDS: tuple[tuple[str, Rule, Rule, Rule], ...] = (
    ("ending", ends("Over and out."), ends("That is all."), NO_COMMA),
    ("count", bullets(2), bullets(3), ends("Thank you.")),
    ("case", LOWER, UPPER, lacks("very")),
    ("frame", QUOTED, TITLED, NO_COMMA),
)
_FIRST = (
    "{s} Do this in every answer from now on. To begin: what can you say about {t}?",
    "Here is how I want all your answers. {s} Now tell me about {t}.",
    "For this whole conversation: {s} Please start with {t}.",
)
_SECOND = ("And what about {t}?", "Good. Next: {t}.", "Now the same for {t}.")
_AMENDS = (
    "I have changed my mind about one thing: from now on, {n} (instead of: {o}). The rest stays. Tell me about {t}.",
    "One change, and all else stays as it was: do not {o} any more; {n}. Go on with {t}.",
    "Please replace one of my rules. Old rule: {o}. New rule: {n}. Then say something about {t}.",
)
_LAST = ("Now tell me about {t}.", "What do you know about {t}?", "And finally, {t}?")


def _rows() -> list[Row]:
    found: list[Row] = []
    for place in range(len(TOPICS)):
        about = [TOPICS[(place + step * 5) % len(TOPICS)] for step in range(4)]
        for turn, (kind, old, new, kept) in enumerate(_KINDS):
            wording = (place + turn) % 3
            before, after = (old, kept), (new, kept)
            turns = (
                _FIRST[wording].format(s=said(before), t=about[0].name),
                render(about[0].sentences, before),
                _SECOND[wording].format(t=about[1].name),
                render(about[1].sentences, before),
                _AMENDS[wording].format(n=new.said, o=old.said, t=about[2].name),
                render(about[2].sentences, after),
                _LAST[wording].format(t=about[3].name),
            )
            tags = {"benefit": "context", "task": f"amended_{kind}", "template": f"context-{kind}-{wording}"}
            ideal = render(about[3].sentences, after)
            found.append(row(f"context-{len(found):03}", turns, check(after), tags, ideal))
    return found


SUITE = Written("context", "A rule amended two turns ago, and one that was not, both still hold", 96, _rows)

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
    holds,
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
_MORE_KINDS: tuple[tuple[str, Rule, Rule, Rule], ...] = (
    *_KINDS,
    ("word", holds("really"), holds("certainly"), QUOTED),
    ("word_other", holds("plainly"), holds("surely"), NO_COMMA),
    ("case_back", UPPER, LOWER, holds("really")),
    ("frame_back", TITLED, QUOTED, lacks("very")),
)
_FIRST = (
    "{s} Do this in every answer from now on. To begin: what can you say about {t}?",
    "Here is how I want all your answers. {s} Now tell me about {t}.",
    "For this whole conversation: {s} Please start with {t}.",
    "A rule for all that you write to me: {s} First, a few words about {t}.",
    "Let us agree on how you answer. {s} What is worth knowing about {t}?",
    "This holds whatever I ask today. {s} Please begin by describing {t}.",
    "I need short texts in one form. {s} The first one is about {t}.",
)
_SECOND = (
    "And what about {t}?",
    "Good. Next: {t}.",
    "Now the same for {t}.",
    "Thanks. Then {t}, please.",
    "Fine. Do {t} next.",
    "Go on: {t}.",
    "The second one is about {t}.",
)
_AMENDS = (
    "I have changed my mind about one thing: from now on, {n} (instead of: {o}). The rest stays. Tell me about {t}.",
    "One change, and all else stays as it was: do not {o} any more; {n}. Go on with {t}.",
    "Please replace one of my rules. Old rule: {o}. New rule: {n}. Then say something about {t}.",
    "Let us change a rule. Until now it was: {o}. From here on: {n}. Your next text is about {t}.",
    "I would like something else in one respect: {n}, where you had to {o}. What about {t}?",
    "Forget that you had to {o}. Instead, {n}. Everything else is as before. Describe {t}.",
    "The client wrote back: one rule is new. Instead of the rule to {o}, {n}. The third text is about {t}.",
)
_LAST = (
    "Now tell me about {t}.",
    "What do you know about {t}?",
    "And finally, {t}?",
    "One more: {t}.",
    "Next in line: {t}. What should I know?",
    "Please end with {t}.",
    "The last text is about {t}.",
)
_OLD, _WORDINGS = 12, 3  # the topics and the wordings of the rows that were first; the others have words of their own


def _rows() -> list[Row]:
    made: list[tuple[int, tuple[str, Rule, Rule, Rule], int]] = []
    made += [(place, kind, (place + turn) % _WORDINGS) for place in range(_OLD) for turn, kind in enumerate(_KINDS)]
    for turn in range(4 * (len(TOPICS) - _OLD)):  # each of these has a template to itself
        made.append((_OLD + turn // 4, _MORE_KINDS[turn % len(_MORE_KINDS)], _WORDINGS + turn // len(_MORE_KINDS)))
    return [_row(f"context-{number:03}", *one) for number, one in enumerate(made)]


def _row(name: str, place: int, amended: tuple[str, Rule, Rule, Rule], wording: int) -> Row:
    topics = TOPICS[:_OLD] if place < _OLD else TOPICS
    about = [topics[(place + step * 5) % len(topics)] for step in range(4)]
    kind, old, new, kept = amended
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
    tags = {"benefit": "context", "task": f"amended_{kind.partition('_')[0]}", "template": f"context-{kind}-{wording}"}
    return row(name, turns, check(after), tags, render(about[3].sentences, after))


SUITE = Written("context", "A rule amended two turns ago, and one that was not, both still hold", 96, _rows)

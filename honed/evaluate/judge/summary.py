"""Verdicts, of a judge or of people, as statistics: over all prompts, at equal lengths, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from honed.evaluate import families
from honed.evaluate.judge import contest, lengths
from honed.evaluate.judge.contest import Bout, Contest, Groups
from honed.evaluate.judge.lengths import LengthControlled
from honed.evaluate.judge.pairwise import Verdict

_SCORES = {"tuned": 1.0, "tie": 0.5, "base": 0.0}


class Tally(NamedTuple):
    """What verdicts say together; of no usable verdict, nothing."""

    overall: Contest | None
    length_controlled: LengthControlled | None
    groups: Mapping[str, Groups]


def tally(found: Sequence[Verdict], tags: Sequence[str]) -> Tally:
    """Return what the usable verdicts show, and by each of ``tags`` that any of them has."""
    usable = [(one, one.choice) for one in found if one.choice is not None]
    if not usable:
        return Tally(None, None, {})
    bouts = [Bout(choice, families.family(one.tags, one.prompt), one.tags) for one, choice in usable]
    controlled = lengths.controlled(
        [_SCORES[choice] for _, choice in usable],
        [len(one.tuned) for one, _ in usable],
        [len(one.base) for one, _ in usable],
        [bout.family for bout in bouts],
    )
    groups = {tag: contest.by_tag(tag, bouts) for tag in tags if any(tag in bout.tags for bout in bouts)}
    return Tally(contest.contest("all", bouts), controlled, groups)

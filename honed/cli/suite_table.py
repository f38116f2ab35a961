"""The scores of a suite for a terminal: totals beside their floors, then each type of instruction and each segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from honed.cli.tables import columns, facts, plain
from honed.evaluate import words

if TYPE_CHECKING:
    from honed.evaluate.rates import Rate
    from honed.evaluate.suites.result import SuiteScores, Totals
    from honed.evaluate.suites.stored import Matched

_LEVELS = {
    "prompt_strict": "prompts, strict",
    "prompt_loose": "prompts, loose",
    "prompt_guarded": "prompts, guarded",
    "instruction_strict": "instructions, strict",
    "instruction_loose": "instructions, loose",
}
_SHOWN = 5  # of each kind of note; all are in the JSON document


def table(found: SuiteScores) -> str:
    """Return the totals with their floors, the instructions from the worst to the best, and the segments."""
    licence = f" ({found.licence})" if found.licence else ""
    head = facts(
        [
            ("suite", f"{plain(found.suite)}{licence}, {found.n} prompts"),
            ("answered", f"{found.answered}, of which {found.empty} are empty; what is missing or empty fails"),
            ("constant floor", f"always {found.constant.answer!r}"),
        ]
    )
    totals = columns(
        ["followed", "of", "rate", "95 % interval", "constant floor", "echo floor"],
        [_level(found, name, said) for name, said in _LEVELS.items()],
    )
    ranked = sorted(found.instructions.items(), key=lambda item: (item[1].strict.rate, item[0]))
    types = columns(
        ["instruction", "of", "strict", "95 % interval", "loose"],
        [[plain(name), one.strict.n, *_rate(one.strict), words.percent(one.loose.rate, 1)] for name, one in ranked],
    )
    return "\n\n".join([head, totals, types, *_segments(found)])


def notes(matched: Matched) -> Iterator[str]:
    """Yield what didn't fit between answers and suite: counted, and the first of each kind by file and line."""
    kinds = {
        "prompts are not in the suite and are left out": matched.unknown,
        "prompts occur again, and the last answer counts": matched.repeated,
        "rows of the suite have no answer and fail": matched.missing,
    }
    for said, places in kinds.items():
        if places:
            yield f"{len(places)} {said}:"
            yield from (f"  {plain(place)}" for place in places[:_SHOWN])
            if len(places) > _SHOWN:
                yield f"  and {len(places) - _SHOWN} more; --json lists all"


def _level(found: SuiteScores, name: str, said: str) -> list[object]:
    rate: Rate = getattr(found.totals, name)
    floors = [words.percent(getattr(floor.totals, name).rate, 1) for floor in (found.constant, found.echo)]
    return [said, rate.n, *_rate(rate), *floors]


def _rate(rate: Rate) -> tuple[str, str]:
    return words.percent(rate.rate, 1), words.span(rate.interval, digits=1)


def _segments(found: SuiteScores) -> list[str]:
    cells = [_segment(tag, value, totals) for tag, group in found.segments.items() for value, totals in group.items()]
    header = ["group", "prompts", "strict", "95 % interval", "loose", "guarded"]
    said = [f"{tag}: {plain(words.too_few(sizes))}" for tag, sizes in found.small.items()]
    said += [f"worst: {plain(words.behind(tag, gap))}" for tag, gap in found.worst.items()]
    return [*([columns(header, cells)] if cells else []), *(["\n".join(said)] if said else [])]


def _segment(tag: str, value: str, totals: Totals) -> list[object]:
    strict = totals.prompt_strict
    others = [words.percent(one.rate, 1) for one in (totals.prompt_loose, totals.prompt_guarded)]
    return [f"{tag}: {plain(words.plain(value))}", strict.n, *_rate(strict), *others]

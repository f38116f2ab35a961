"""What is done about parts of a row's texts that should not be learned: masked, the row dropped, or only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import orjson

from honed.data.curate.personal.patterns import Span, masked
from honed.data.curate.row import Finding, Row, Turn

Remedy = Literal["mask", "drop", "keep", "ignore"]
Find = Callable[[str], Collection[Span]]


def treated(row: Row, find: Find, remedy: Mapping[str, Remedy], title: str) -> Iterator[Finding]:
    """Yield what is done about what ``find`` finds in a row; nothing found is written into the sentence itself.

    A row with a verifier isn't masked, since the verifier would go on to ask for the words as they were.
    """
    counts: Counter[str] = Counter()
    turns = tuple([_turn(turn, find, counts, {}) for turn in row.turns])
    if not counts:
        return
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    wanted = {remedy[kind] for kind in counts}
    hidden = tuple([_turn(turn, find, Counter(), dict.fromkeys(counts, "mask")) for turn in row.turns])
    if "drop" in wanted:
        yield Finding(row.number, row.id, title, "drop", said, turns=hidden)
    elif "mask" in wanted and row.replies > 1 and hidden[-1] == hidden[-2]:
        what = f"{said}; both answers are the same without"
        yield Finding(row.number, row.id, title, "drop", what, turns=hidden)
    elif "mask" in wanted and row.checked:
        yield Finding(row.number, row.id, title, "report", f"{said}; not masked, since a verifier reads the row")
    elif "mask" in wanted:
        turns = tuple([_turn(turn, find, Counter(), remedy) for turn in row.turns])
        yield Finding(row.number, row.id, title, "change", f"{said}{_kept(counts, remedy)}", turns=turns)
    else:
        yield Finding(row.number, row.id, title, "report", said)


def _kept(counts: Counter[str], remedy: Mapping[str, Remedy]) -> str:
    kept = [kind for kind in sorted(counts) if remedy[kind] == "keep"]
    return f"; kept: {', '.join(kept)}" if kept else ""


def _turn(turn: Turn, find: Find, counts: Counter[str], remedy: Mapping[str, Remedy]) -> Turn:
    def mend(text: str) -> str:
        found = find(text)
        counts.update([span.kind for span in found])
        return masked(text, [span for span in found if remedy.get(span.kind) == "mask"])

    calls, tools = (
        orjson.dumps(_walked(orjson.loads(text), mend)).decode() if text else "" for text in (turn.calls, turn.tools)
    )
    return Turn(turn.role, mend(turn.content), calls, tools)


def _walked(value: Any, mend: Callable[[str], str]) -> Any:
    """Return JSON values with every text in them mended; names of fields stay."""
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, dict):
        return {name: _walked(inner, mend) for name, inner in value.items()}
    return [_walked(inner, mend) for inner in value] if isinstance(value, list) else value

"""Which parts of a dataset are thin, by written rules, and what to collect next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from honed.data.map.coverage import Part, Region, Wanted
from honed.data.map.kinds import OTHER

BANDS = ((1, 5), (6, 20), (21, 60), (61, 150), (151, 400), (401, None))
"""Words of an answer, from and to."""

_BAND = 0.03
"""A band of lengths is thin below this share of the rows."""
_FEW = 50
"""A language with fewer rows is thin: seen, and not learned."""
_BEHIND = 0.5
"""A region or kind is thin if its share is below this part of the target's, where that is at least ``_MATTERS``."""
_MATTERS = 0.02


def parts(
    counts: Mapping[str, int], rows: int, share: float, target: Mapping[str, float] | None = None
) -> tuple[Part, ...]:
    """Return the parts by size; thin is one below ``share`` of an even share, or well below the target's share."""
    names = [*counts, *(name for name in target or {} if name not in counts)]
    found = []
    for name in sorted(names, key=lambda name: (-counts.get(name, 0), name)):
        here = counts.get(name, 0)
        of_target = None if target is None else target.get(name, 0.0)
        why = uneven(here, rows, len(names), share) if name != OTHER else ""
        if of_target is not None:
            why = behind(here / rows, of_target)
        found.append(Part(name=name, rows=here, share=here / rows, target_share=of_target, thin=why))
    return tuple(found)


def uneven(here: int, rows: int, among: int, share: float) -> str:
    """Say that a part is below ``share`` of an even one, or ""."""
    even = rows / among
    return f"under {share:.0%} of an even share, {even:,.0f} rows" if among > 1 and here < share * even else ""


def behind(share: float, target: float) -> str:
    """Say that a part is well below what the target has of it, or ""."""
    if target < _MATTERS or share >= _BEHIND * target:
        return ""
    return f"{share:.1%} of the rows, {target:.1%} of the target"


def bands(words: Sequence[int], rows: int) -> tuple[Part, ...]:
    """Return the answers by length."""
    found = []
    for low, high in BANDS:
        here = sum(low <= count and (high is None or count <= high) for count in words)
        name = f"{low:,} to {high:,} words" if high else f"over {low - 1:,} words"
        thin = f"under {_BAND:.0%} of the rows" if here < _BAND * rows else ""
        found.append(Part(name=name, rows=here, share=here / rows, thin=thin))
    return tuple(found)


def languages(counts: Mapping[str, int], rows: int, unclear: str) -> tuple[Part, ...]:
    """Return the languages by size; those that are too few to be learned are thin."""
    return tuple(
        Part(
            name=name,
            rows=here,
            share=here / rows,
            thin=f"fewer than {_FEW} rows" if name != unclear and here < _FEW and here < rows / 2 else "",
        )
        for name, here in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def empty_pairs(pairs: Counter[tuple[str, str]], kinds: Sequence[Part], audiences: Sequence[Part]) -> list[Wanted]:
    """Return for each audience the kinds of task that no row of it has."""
    found = []
    for audience in audiences:
        none = [kind.name for kind in kinds if kind.name != OTHER and not pairs[(kind.name, audience.name)]]
        if none:
            sentence = f"Collect rows of {', '.join(none)} for the audience {audience.name}: there are none yet."
            found.append(Wanted(about="pair", name=audience.name, have=0, rows=None, sentence=sentence))
    return found


def to_collect(
    rows: int,
    share: float,
    regions: Sequence[Region],
    kinds: Sequence[Part],
    others: Mapping[str, Sequence[Part]],
) -> list[Wanted]:
    """Return what to collect for every thin part, what is missing most first; ``others`` by what they are about."""
    found = [
        _region(region, _missing(region.part, rows, len(regions), share)) for region in regions if region.part.thin
    ]
    found += [_kind(part, _missing(part, rows, len(kinds), share)) for part in kinds if part.thin]
    for part in others.get("audiences", ()):
        if part.thin:
            missing = _missing(part, rows, len(others["audiences"]), share)
            sentence = f"Collect about {missing:,} more rows for the audience {part.name}: there are {part.rows:,}."
            found.append(Wanted(about="audience", name=part.name, have=part.rows, rows=missing, sentence=sentence))
    for part in others.get("languages", ()):
        if part.thin:
            sentence = f"{part.name}: {_rows(part.rows)}. Collect {_FEW} or more if it is meant, else drop them."
            found.append(
                Wanted(about="language", name=part.name, have=part.rows, rows=_FEW - part.rows, sentence=sentence)
            )
    for part in others.get("lengths", ()):
        if part.thin:
            missing = max(1, round(_BAND * rows) - part.rows)
            sentence = f"Answers of {part.name} are {part.share:.1%} of the rows; {missing:,} more would make them 3 %."
            if part.name.startswith("over"):
                sentence = sentence.replace("Answers of", "Answers")
            found.append(Wanted(about="length", name=part.name, have=part.rows, rows=missing, sentence=sentence))
    return sorted(found, key=lambda one: (one.about not in ("region", "kind"), -(one.rows or 0)))


def _missing(part: Part, rows: int, among: int, share: float) -> int:
    """How many rows more a part needs so that it isn't thin any more, about."""
    if part.target_share is not None:
        return max(1, round(_BEHIND * part.target_share * rows) - part.rows)
    return max(1, round(share * rows / among) - part.rows)


def _region(region: Region, missing: int) -> Wanted:
    part = region.part
    like = f", such as: {_short(region.typical[0].prompt)}" if region.typical else ""
    why = f" ({part.thin})" if part.target_share is not None else ""
    sentence = f"Collect about {missing:,} more rows on {part.name}: there are {part.rows:,}{why}{like}"
    rows = tuple(one.row for one in region.typical)
    return Wanted(about="region", name=part.name, have=part.rows, rows=missing, sentence=sentence, like=rows)


def _kind(part: Part, missing: int) -> Wanted:
    why = f" ({part.thin})" if part.target_share is not None else ""
    sentence = f"Collect about {missing:,} more rows of the kind {part.name}: there are {part.rows:,}{why}."
    return Wanted(about="kind", name=part.name, have=part.rows, rows=missing, sentence=sentence)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return f"“{text}”" if len(text) <= 120 else f"“{text[:119]}…”"

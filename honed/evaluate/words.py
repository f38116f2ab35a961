"""How numbers are said in reports and tables, and the sentences that sum a comparison up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from honed.evaluate.stats import LEVEL, MARGIN, SMALLEST, Interval

if TYPE_CHECKING:
    from honed.evaluate.compare import Comparison, LossChange
    from honed.evaluate.graded import GradedChange
    from honed.evaluate.power import Power
    from honed.evaluate.rates import Rate, Worst
    from honed.evaluate.segment import Segment

GAP = "\u00a0"  # a number and its unit stay on one line
MINUS = "\u2212"
FLOORS = {"constant": "one constant answer", "echo": "the prompt echoed back"}
_SURE = f"{100 * LEVEL:.0f}{GAP}%"


def percent(share: float, digits: int = 0) -> str:
    """Return a fraction as ``71 %``; one that isn't quite 0 or 1 is never said to be."""
    text = f"{100 * share:.{digits}f}"
    if digits == 0 and text in ("0", "100") and share not in (0, 1):
        text = f"{100 * share:.1f}"
    return f"{text}{GAP}%"


def signed(value: float, digits: int = 0) -> str:
    """Return a number with its sign, and a true minus."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


def points(difference: float, digits: int = 0) -> str:
    """Return a difference of fractions as ``+59 points``."""
    return f"{signed(100 * difference, digits)}{GAP}points"


def span(interval: Interval, scale: float = 100, digits: int = 0) -> str:
    """Return an interval as ``52 to 66``, with a true minus where it is below 0."""
    low, high = (signed(scale * end, digits).removeprefix("+") for end in interval)
    return f"{low} to {high}"


def chance(p_value: float, name: str = f"p{GAP}={GAP}") -> str:
    """Return a p-value as ``p = 0.012`` or ``p < 0.001``; without a ``name`` as ``0.012`` or ``< 0.001``."""
    if p_value < 0.001:
        return f"{name.replace(f'={GAP}', '')}<{GAP}0.001"
    return f"{name}{p_value:.{3 if p_value < 0.1 else 2}f}"


def seconds(value: float) -> str:
    """Return a duration as ``42 s``, ``3 min 05 s`` or ``2 h 03 min``."""
    if value < 10:
        return f"{value:.1f}{GAP}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{GAP}s"
    if whole < 3600:
        return f"{whole // 60}{GAP}min {whole % 60:02}{GAP}s"
    return f"{whole // 3600}{GAP}h {whole % 3600 // 60:02}{GAP}min"


def bytes_(count: float) -> str:
    """Return a count of bytes in GB or MB (powers of ten)."""
    return f"{count / 1e9:.2f}{GAP}GB" if count >= 1e9 else f"{count / 1e6:.0f}{GAP}MB"


def plain(name: str) -> str:
    """Return a tag's value as words."""
    return name.replace("_", " ")


def headline(comparison: Comparison) -> str:
    """Return the one sentence that the report opens with."""
    whole = comparison.overall
    if whole is None:
        if comparison.loss is None:
            return f"Nothing could be measured on these {comparison.rows} rows: none has a verifier or a loss."
        return f"{_loss(comparison.loss)} No row has a verifier, so nothing is said of pass rates."
    parts = (whole.base.rate, whole.tuned.rate, whole.difference)
    base, tuned, change = (round(100 * part) for part in parts)
    digits = 0 if tuned - base == change else 1  # no reader should find that the sum is off by one
    return (
        f"The tuned model passes {percent(whole.tuned.rate, digits)} of {whole.n} {_kind(comparison)} instructions, "
        f"the base {percent(whole.base.rate, digits)}: {points(whole.difference, digits)} "
        f"({_SURE} interval {span(whole.interval)}), {chance(whole.p_value)}."
    )


def floor(floors: Mapping[str, Rate], name: str) -> str:
    """Return what a floor passes; "" where it isn't known, as of another harness's rows without floors."""
    return percent(floors[name].rate) if name in floors else ""


def verdicts(comparison: Comparison) -> list[str]:
    """Return the sentences below the headline: what that shows, for whom least, and against what floor."""
    whole = comparison.overall
    said = [_shown(whole)] if whole else []
    if whole and whole.floors:
        name, higher = max(whole.floors.items(), key=lambda item: item[1].rate)
        beats = "above" if whole.tuned.interval.low > higher.rate else "not clearly above"
        said.append(f"The tuned model is {beats} the higher floor, {FLOORS[name]} ({percent(higher.rate)}).")
    if least := comparison.least_gain:
        change = f"{points(least.difference)} on {least.n} rows"
        fell = " It fell." if least.difference < 0 else ""
        said.append(f"The audience that gained least is {plain(least.name)}: {change}.{fell}")
    if whole and (whole.base_guarded != whole.base or whole.tuned_guarded != whole.tuned):
        said.append(
            f"Guarded, that is by answers that aren't vacuous, the tuned model passes "
            f"{percent(whole.tuned_guarded.rate)}, the base {percent(whole.base_guarded.rate)}."
        )
    said += [_worst(tag, gap) for tag, gap in comparison.worst.items()]
    if comparison.power:
        said.append(_power(comparison.power))
    if whole and whole.families < whole.n:
        said.append(
            f"The {whole.n} rows are {whole.families} families: p-values, and the intervals of differences and gaps, "
            "count these; the interval of a single pass rate counts rows."
        )
    if comparison.graded:
        said.append(_graded(comparison.graded))
    if whole and comparison.loss:
        said.append(_loss(comparison.loss))
    return said


def _shown(whole: Segment) -> str:
    differ = whole.won + whole.lost
    if whole.verdict in ("not shown", "not worse"):
        ruled_out = f" A fall of {100 * MARGIN:g} points or more is ruled out." if whole.verdict == "not worse" else ""
        if differ < SMALLEST:
            few = f"the two differ on {differ} rows, and fewer than {SMALLEST} can never show one"
            return f"No difference is shown: {few}.{ruled_out}"
        luck = f"{whole.won} rows were won and {whole.lost} lost, which chance alone may do"
        return f"No difference is shown: {luck}.{ruled_out}"
    return f"The tuned model is {whole.verdict}: it won {whole.won} rows and lost {whole.lost}."


def too_few(small: Mapping[str, int]) -> str:
    """Return the groups that are too small to say anything, with their sizes: a name never comes with a rate."""
    named = ", ".join(f"{plain(name)} ({n} row{'s' if n != 1 else ''})" for name, n in small.items())
    return f"too few to say: {named}"


def behind(tag: str, gap: Worst) -> str:
    """Return which group is worst off, how far the others are ahead, and whether that is shown."""
    shown = "" if gap.interval.low > 0 else "; not shown"
    return (
        f"{tag} {plain(gap.name)} ({percent(gap.rate.rate)} of {gap.rate.n}): {100 * gap.gap:.0f}{GAP}points behind "
        f"all others (interval {span(gap.interval)}, for the worst of {gap.of}{shown})"
    )


def _worst(tag: str, gap: Worst) -> str:
    return f"The tuned model passes least often for {behind(tag, gap)}."


def _power(power: Power) -> str:
    """Return what the rows can show, as a sentence."""
    if power.detectable is None:
        can = "These rows are too few to show any difference"
    else:
        can = f"These rows show a true difference of {100 * power.detectable:.0f}{GAP}points four times in five"
    if not power.more_rows:
        return f"{can}."
    return f"{can}; a difference of 2{GAP}points would take {power.more_rows:,} rows more."


def _graded(change: GradedChange) -> str:
    return (
        f"The mean value of {change.n} graded answers went from {change.base:.2f} to {change.tuned:.2f} "
        f"({signed(change.difference, 2)}, {_SURE} interval {span(change.interval, 1, 2)}), {chance(change.p_value)}."
    )


def _loss(loss: LossChange) -> str:
    way = "fell" if loss.difference < 0 else "rose" if loss.difference > 0 else "went"
    luck = "; chance may do that" if loss.interval.low <= 0 <= loss.interval.high else ""
    change = f"{signed(loss.difference, 3)}, {_SURE} interval {span(loss.interval, 1, 3)}"
    test = f"{chance(loss.p_value)} by Wilcoxon's test"
    ends = f"from {loss.base:.3f} to {loss.tuned:.3f} nats per supervised token"
    return f"Held-out loss {way} {ends} ({change}{luck}; {test})."


def _kind(comparison: Comparison) -> str:
    return "held-out" if comparison.split == "heldout" else "training"

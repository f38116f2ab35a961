"""What judging found, as sentences: for the terminal, the page and the gate."""

from __future__ import annotations

from collections.abc import Iterator

from honed.evaluate.judge import kappa
from honed.evaluate.judge.agreement import SIDES, Agreement, Among, ScoreAgreement, Trust
from honed.evaluate.judge.lengths import LengthControlled
from honed.evaluate.judge.outcome import AnyResult, Measured, Pairwise, People, Rubric, Usage
from honed.evaluate.judge.pairwise import Order
from honed.evaluate.rates import Rate
from honed.evaluate.words import GAP, chance, percent, signed, span
from honed.models.remote import Estimate

SIDE_NAMES = {"base": "the base", "tuned": "the tuned model", "tie": "neither"}


def ahead(questions: int, estimate: Estimate | None) -> str:
    """Return what is to be asked and what it costs at most, as a sentence."""
    asked = counted(questions, "question")
    if estimate is None:
        return f"{asked} to a model on this machine."
    paid = f"; {estimate.cached} are paid for already" if estimate.cached else ""
    cost = "" if estimate.cost is None else f", which cost {estimate.cost:.4g} at most"
    return (
        f"{asked}{paid}: {estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out at most{cost}. "
        "A reply without the form is asked for once more."
    )


def spent(usage: Usage) -> str:
    """Return what was asked and what it cost, as a sentence."""
    parts = [f"{counted(usage.replies, 'reply')}, {usage.prompt_tokens:,} tokens in and {usage.tokens:,} out"]
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:.4g}")
    if usage.cached:
        parts.append(f"{usage.cached} were in the workspace already")
    if usage.again:
        parts.append(f"{usage.again} were asked for again")
    if usage.unusable:
        parts.append(f"{usage.unusable} questions got no usable reply")
    return "; ".join(parts) + "."


def trust(found: Trust) -> str:
    """Return whether the judge may be relied on, and why."""
    if found.state == "yes":
        return f"The judge is trusted: {found.why}."
    return f"Only indicative, the judge isn't trusted ({found.state}): {found.why}."


def headline(found: AnyResult) -> str:
    """Return the sentence that a result opens with."""
    if isinstance(found, Measured):
        return _measured(found)
    if isinstance(found, Rubric):
        return _rubric(found)
    who = "People prefer" if isinstance(found, People) else f"{found.judge.name} prefers"
    what = "judgements" if isinstance(found, People) else "prompts"
    if found.overall is None:
        return "Nobody has judged anything yet." if isinstance(found, People) else "No reply of the judge is usable."
    whole = found.overall
    return (
        f"{who} the tuned model in {percent(whole.win_rate)} of {whole.n} {what}, ties counted half "
        f"(95{GAP}% interval {span(whole.interval)}): {whole.won} won, {whole.tied} tied, {whole.lost} lost, "
        f"{chance(whole.p_value)}."
    )


def details(found: AnyResult) -> list[str]:
    """Return the sentences below the headline."""
    if isinstance(found, Pairwise):
        return list(_pairwise(found))
    if isinstance(found, People):
        return list(_people(found))
    if isinstance(found, Rubric):
        unusable = [
            f"{side.name}: {side.unusable} answers have no usable scores." for side in found.sides if side.unusable
        ]
        return [trust(found.trust), *unusable, *found.notes]
    lines = list(_choices(found.choices)) if found.choices else []
    return [trust(found.trust), *lines]


def equal_lengths(found: LengthControlled) -> str:
    """Return the win rate at equal lengths, and what length did."""
    low, high = found.effect_interval
    pull = "the longer answer wins more often" if found.effect > 0 else "the shorter answer wins more often"
    shown = pull if low > 0 or high < 0 else "length isn't shown to matter"
    return (
        f"At equal lengths it would be {percent(found.win_rate)} ({span(found.interval)}); {shown}, and the tuned "
        f"model's is the longer in {percent(found.longer)}."
    )


def order(found: Order) -> list[str]:
    """Return what the order of the answers did."""
    lines = []
    if found.consistent:
        lines.append(f"Both orders agree in {rated(found.consistent)}; where they don't, it is a tie.")
    if found.first:
        fair = found.first.interval.low <= 0.5 <= found.first.interval.high
        shown = "no bias is shown" if fair else "the judge's bias, which the two orders cancel"
        lines.append(f"The answer shown first is chosen in {rated(found.first)}: {shown}.")
    return lines


def rated(found: Rate) -> str:
    """Return a rate with its number and interval."""
    return f"{percent(found.rate)} of {found.n} ({span(found.interval)})"


def counted(n: int, noun: str) -> str:
    """Return ``1 reply`` or ``2 replies``."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def _pairwise(found: Pairwise) -> Iterator[str]:
    yield trust(found.trust)
    if found.length_controlled:
        yield equal_lengths(found.length_controlled)
    yield from order(found.order)
    if found.unasked:
        yield f"{found.unasked} prompts needed no judge: the answers are the same, or one is empty and loses."
    if found.unusable:
        yield f"{found.unusable} prompts have no usable verdict and count for neither side; the replies are kept."
    if found.sides.apart:
        yield f"{found.sides.apart} prompts were answered by one of the two only, and are left out."
    yield from found.notes


def _people(found: People) -> Iterator[str]:
    if found.raters:
        alike = f"; {found.same} pairs are alike and weren't shown" if found.same else ""
        yield f"By {counted(len(found.raters), 'rater')}; {found.skipped} skipped{alike}."
    if found.length_controlled:
        yield equal_lengths(found.length_controlled)
    if found.left:
        yield f"The answer on the left is chosen in {rated(found.left)}."
    if found.among:
        yield among(found.among)


def among(found: Among) -> str:
    """Return how far people agree among themselves."""
    alpha = kappa.said(found.alpha, found.interval)
    return f"Among people, Krippendorff's alpha is {alpha} on the {found.pairs} pairs that several judged."


def _choices(found: Agreement) -> Iterator[str]:
    sides = "; ".join(f"{SIDE_NAMES[side]} {rated(found.sides[side])}" for side in SIDES if side in found.sides)
    yield f"Where people prefer, the judge does too: {sides}."
    if found.decided:
        yield f"Without ties of either: {rated(found.decided)}."
    yield from order(found.order)
    if found.length:
        bias = f"{signed(100 * found.length.bias)}{GAP}points ({span(found.length.interval)})"
        yield (
            f"The longer answer is preferred by the judge in {percent(found.length.judge)}, by people in "
            f"{percent(found.length.people)} of {found.length.n}: a bias of {bias}."
        )
    if found.people:
        yield among(found.people)


def _measured(found: Measured) -> str:
    if found.choices:
        value = kappa.said(found.choices.kappa, found.choices.kappa_interval)
        return f"{found.judge.name} says what people say in {rated(found.choices.rate)}; Cohen's kappa is {value}."
    assert found.scores is not None
    return f"{found.judge.name} beside people's scores of {found.scores.n} answers: {_kappas(found.scores)}."


def _kappas(found: ScoreAgreement) -> str:
    said = [f"{name} {kappa.said(one.kappa, one.kappa_interval)}" for name, one in found.criteria.items()]
    return f"weighted kappa {'; '.join(said)}" if said else "no reply is usable"


def _rubric(found: Rubric) -> str:
    said = []
    for side in found.sides:
        means = ", ".join(f"{name} {one.mean:.2f}" for name, one in side.means.items())
        said.append(f"{side.name}: {means or 'no usable scores'} of 5, {side.n} answers")
    return f"{found.judge.name} scores " + "; ".join(said) + "."

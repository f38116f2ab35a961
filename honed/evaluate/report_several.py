"""Several evaluations of the same rows as three files: a table of models and metrics, groups, and every row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from honed.evaluate import browse, charts, examples, gains, page, vacuous, words
from honed.evaluate.charts import SIDES
from honed.evaluate.compare import Evaluation
from honed.evaluate.errors import analysis
from honed.evaluate.errors.analysis import Errors
from honed.evaluate.page import Browser
from honed.evaluate.power import Power
from honed.evaluate.several import Several

_FATES = {"differ": "models differ", "none": "none passes", "all": "all pass", "unverified": "no verifier"}


def write(
    folder: Path, found: Several, evaluations: Sequence[Evaluation], *, next_commands: Sequence[str] = ()
) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` into ``folder`` and return the page's path.

    ``evaluations`` are those that were compared, in their order. Raises ``StoreError`` if the folder can't be written.
    """
    names = labels(found)
    told = analysis.tell(evaluations[-1], list(found.segments))
    only = {f"only{at}": f"only {name} passes" for at, name in enumerate(names)}
    fails = {f"fails{at}": f"{name} fails" for at, name in enumerate(names)}
    shown = browse.rows(evaluations, told, _fates)
    failures = _errors(found, evaluations, names)
    values = {
        "title": f"{len(names)} models on {found.data}",
        "found": found,
        "names": names,
        "roles": SIDES[: len(names)],
        "marks": [_MARKS[role] for role in SIDES[: len(names)]],
        "headline": headline(found),
        "verdicts": verdicts(found),
        "tags": [tag for tag, groups in found.segments.items() if groups or found.small[tag]],
        "guard": vacuous.RULE,
        "next_commands": next_commands,
        "charts": _charts(found, names),
        "can_show": can_show,
        "gains": gains,
        "failures": failures,
    }
    browser = Browser(
        shown=examples.order(shown, tuple(_FATES)),
        sides=[{"role": role, "name": name} for role, name in zip(SIDES, names, strict=False)],
        fates={**_FATES, **only, **fails},
    )
    document = {
        "headline": values["headline"],
        "verdicts": values["verdicts"],
        "comparison": found.model_dump(mode="json"),
        "errors": {found.models[at].job: errors.model_dump(mode="json") for _, at, errors in failures},
        "next_commands": list(next_commands),
    }
    return page.write(folder, "several", values, browser, document)


_MARKS = {"base": "■", "tuned": "●", "third": "◆", "fourth": "▲", "fifth": "✚", "sixth": "★"}


def labels(found: Several) -> list[str]:
    """Return the models' names; one that was evaluated twice has its job beside it."""
    names = [one.model for one in found.models]
    return [f"{one.model} ({one.job})" if names.count(one.model) > 1 else one.model for one in found.models]


def headline(found: Several) -> str:
    """Return the one sentence that the report opens with."""
    best, *rest = found.ranked
    if best.passed is None:
        if best.loss is None or any(one.loss is None for one in found.models):
            return (
                f"Nothing could be compared on these {found.rows} rows: none has a verifier, or a loss of every model."
            )
        return (
            f"Of {len(found.models)} models {best.model} has the lowest held-out loss, {best.loss:.3f} nats per token."
        )
    ties = [one.model for one in rest if one.rank == best.rank]
    if ties:
        share = f"{words.percent(best.passed.rate)} of {found.n} instructions"
        return f"{', '.join([best.model, *ties])} pass most of {len(found.models)} models, {share} each."
    whole = f"{words.percent(best.passed.rate)} of {found.n} instructions"
    return f"Of {len(found.models)} models {best.model} passes most, {whole} ({words.span(best.passed.interval)})."


def verdicts(found: Several) -> list[str]:
    """Return a sentence for each model beside the first, and how sure the ranks are."""
    first, *others = found.models
    said = []
    for one in others:
        if one.versus is None:
            continue
        change = f"{words.points(one.versus.difference)}, interval {words.span(one.versus.interval)}"
        how = "no difference is shown" if one.versus.verdict == "not shown" else one.versus.verdict
        said.append(
            f"{one.model} beside {first.model}: {how} ({change}, {one.versus.won} rows won and {one.versus.lost} lost, "
            f"{words.chance(one.versus.p_adjusted)})."
        )
        if one.loss_change:
            loss = one.loss_change
            said.append(
                f"Its held-out loss is {loss.tuned:.3f} nats per token, {words.signed(loss.difference, 3)} "
                f"({words.span(loss.interval, 1, 3)}; {words.chance(loss.p_value)} by Wilcoxon's test)."
            )
    said += least(found)
    best = found.ranked[0]
    if best.rank_interval.high > 1:
        said.append(f"The first rank isn't sure: other rows might rank {best.model} {best.rank_interval.high:.0f}.")
    return said


def least(found: Several) -> list[str]:
    """Return for whom each model works least: the worst group of each tag, and how far the others are ahead."""
    return [
        f"{one.model} passes least often for {words.behind(tag, gap)}."
        for one in found.models
        for tag, gap in one.worst.items()
    ]


def can_show(power: Power | None) -> str:
    """Return what the rows can show between two models, in a cell: the difference, and the rows that 2 points take."""
    if power is None:
        return ""
    points = "none" if power.detectable is None else f"{100 * power.detectable:.0f} points"
    return f"{points}; 2 points with {power.more_rows:,} rows more" if power.more_rows else points


def _errors(found: Several, evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[tuple[str, int, Errors]]:
    """Where each model but the first fails, beside the first: its name and place, and the analysis."""
    if found.n == 0:
        return []
    tags = list(found.segments)
    return [
        (name, at, analysis.analyse(one, evaluations[0], tags))
        for at, (name, one) in enumerate(zip(names, evaluations, strict=True))
        if at
    ]


def _charts(found: Several, names: Sequence[str]) -> dict[str, object]:
    figures: dict[str, object] = {}
    whole = [one.passed for one in found.models if one.passed]
    if len(whole) < len(found.models):
        return figures
    roles = SIDES[: len(names)]
    for tag, groups in found.segments.items():
        cells = [(one.name, one.passed) for one in groups]
        if cells:
            first = [] if figures else [("all rows", tuple(whole))]
            figures[tag] = charts.rates([*first, *cells], roles, names)
    return figures or {"all": charts.rates([("all rows", whole)], roles, names)}


def _fates(passed: Sequence[bool | None]) -> tuple[str, ...]:
    if None in passed:
        return ("unverified",)
    right = [at for at, one in enumerate(passed) if one]
    own = "all" if len(right) == len(passed) else "differ" if right else "none"
    only = [f"only{right[0]}"] if len(right) == 1 else []
    return (own, *only, *(f"fails{at}" for at, one in enumerate(passed) if not one))

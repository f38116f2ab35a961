"""From where failures gather to what rows would help: sentences for people, and a document for the data stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.evaluate import asked, words
from honed.evaluate.errors.clusters import Cluster, fisher
from honed.evaluate.errors.facets import Facet, Told
from honed.evaluate.errors.reasons import normal
from honed.evaluate.stats import LEVEL, SMALLEST, wilson
from honed.records import WantedRows

ROWS, LEAST, MOST_FAIL = 200, 20, 0.5
_REASONS = 3
_ACTED_ON = ("task", "audience", "benefit", "constraint", "language")

RULE = (
    f"A kind of rows is asked for where it is shown to fail more often than the rest, or where the interval of its "
    f"failures lies above {100 * MOST_FAIL:.0f} %. {ROWS} rows times its rate of failures, rounded to tens, "
    f"{LEAST} at least: a place to start, which a learning curve mends. If no kind is, the one with most failures "
    "too many is, and is marked as not shown. A group that only fails because of another one is left out."
)
CAUTION = (
    "The examples are held-out rows: look at them, and never copy or reword them into training data, or the next "
    "evaluation measures memory."
)


def find(clusters: Sequence[Cluster], told: Sequence[Told]) -> list[WantedRows]:
    """Return the kinds of rows that would help, most failures first; none where nothing fails."""
    kinds = [one for one in clusters if one.kind in _ACTED_ON and one.failed.passed]
    chosen = [one for one in kinds if one.shown or one.failed.interval.low > MOST_FAIL]
    if not chosen:
        chosen = [one for one in kinds if one.excess > 0][:1]
    found = [_wanted(one, told) for one in _unexplained(chosen, told)]
    return sorted(found, key=lambda one: (not one.shown, -one.count, -one.failed))


def sentences(wanted: Sequence[WantedRows], clusters: Sequence[Cluster], longest: int) -> list[str]:
    """Return what would help, a sentence for each kind of rows, and for what no rows would mend."""
    said = [one.why for one in wanted]
    shown = {one.name: one for one in clusters if one.kind == "answer" and one.shown}
    if cut := shown.get("cut at the longest length"):
        said.append(
            f"{cut.failed.passed} of {cut.failed.n} answers that were cut at {longest} tokens fail: allow longer ones "
            "(--max-tokens), or train on shorter ideal answers."
        )
    if vacuous := shown.get("vacuous"):
        said.append(
            f"{vacuous.failed.passed} of {vacuous.failed.n} vacuous answers fail: rows whose ideal answers "
            "say something to prompts like these would help."
        )
    return said


def _unexplained(chosen: Sequence[Cluster], told: Sequence[Told]) -> list[Cluster]:
    """Leave out a group that only fails because of one that was taken: the surest first, and narrow before wide.

    Of its rows that no group before it took, ``SMALLEST`` must be left, and these must still fail often. Groups of
    instructions are taken as they are: each has a verdict of its own.
    """
    taken: list[Cluster] = []
    left = {one.answer.row: one.failed for one in told}
    for one in sorted(chosen, key=lambda one: (one.p_value, _ACTED_ON.index(one.kind), one.failed.n, one.name)):
        if one.unit == "rows":
            mine = [row.answer.row for row in _members(one, told) if row.answer.row in left]
            if taken and not _fail(sum(left[row] for row in mine), len(mine), sum(left.values()), len(left)):
                continue
            for row in mine:
                del left[row]
        taken.append(one)
    return taken


def _fail(failed: int, n: int, all_failed: int, all_n: int) -> bool:
    """Whether rows fail more often than the others that are left, or mostly."""
    if n < SMALLEST:
        return False
    if wilson(failed, n).low > MOST_FAIL:
        return True
    others_failed, others = all_failed - failed, all_n - n
    more = failed / n > others_failed / max(1, others)
    return more and fisher(failed, n, others_failed, others) < 1 - LEVEL


def _members(cluster: Cluster, told: Sequence[Told]) -> list[Told]:
    return [one for one in told if Facet(cluster.kind, cluster.name) in one.facets]


def _wanted(cluster: Cluster, told: Sequence[Told]) -> WantedRows:
    members = _members(cluster, told)
    verifier, constraint = _checked(cluster, members)
    rate = cluster.failed
    return WantedRows(
        tags=_tags(members),
        verifier=verifier,
        constraint=constraint,
        language=cluster.name if cluster.kind == "language" else "",
        count=max(LEAST, 10 * round(ROWS * rate.rate / 10)),
        n=rate.n,
        failed=rate.passed,
        shown=cluster.shown,
        why=_why(cluster),
        reasons=_reasons(cluster, members),
        examples=cluster.examples,
    )


def _tags(members: Sequence[Told]) -> dict[str, str]:
    """The group's own tag, and each other one that all of its rows share: a task has one benefit."""
    first = members[0].answer.tags
    shared = {tag: value for tag, value in first.items() if all(one.answer.tags.get(tag) == value for one in members)}
    wanted: Mapping[str, str] = {tag: value for tag, value in shared.items() if tag in _ACTED_ON}
    return dict(wanted)


def _checked(cluster: Cluster, members: Sequence[Told]) -> tuple[str, str]:
    """The verifier and what it is asked for, where all rows of the group share one."""
    checks = [one.answer.check for one in members]
    names = {check.verifier for check in checks if check}
    if len(names) != 1 or None in checks:
        return "", ""
    (verifier,) = names
    if cluster.kind != "constraint":
        return verifier, ""
    assert checks[0] is not None
    if asked.family(checks[0]) is not None:
        return verifier, cluster.name
    return verifier, cluster.name.removeprefix(verifier).removeprefix(": ")


def _reasons(cluster: Cluster, members: Sequence[Told]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for one in members:
        if not one.failed:
            continue
        own = [part.why for part in one.parts if not part.passed and part.id == cluster.name]
        for why in own or [part.why for part in one.parts if not part.passed] or [one.answer.why]:
            counts[normal(why)] = counts.get(normal(why), 0) + 1
    return tuple(sorted(counts, key=lambda why: (-counts[why], why))[:_REASONS])


def _why(cluster: Cluster) -> str:
    rate = cluster.failed
    kind = cluster.title
    what = f"rows of {cluster.kind} {kind}" if cluster.kind != "language" else f"rows in {kind}"
    count = max(LEAST, 10 * round(ROWS * rate.rate / 10))
    fails = f"{rate.passed} of {rate.n} {'instructions' if cluster.unit == 'instructions' else 'held-out rows'} fail"
    others = f"{words.percent(rate.rate)} against {words.percent(cluster.others.rate)} of the others"
    luck = f", {words.chance(cluster.p_adjusted)}" if cluster.shown else "; not shown to be more than the rest"
    return f"{count} {what}: {fails}, {others}{luck}."

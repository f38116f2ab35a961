"""Stored answers to a suite as an evaluation: reports and error analysis then take them like those made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from honed import registry
from honed import segments as rules_
from honed.evaluate import graded, groups, outcome, reliable, scoring
from honed.evaluate.compare import Evaluation
from honed.evaluate.outcome import SEGMENTS, Answer, Outcome
from honed.evaluate.suites import scores
from honed.evaluate.suites.stored import Matched
from honed.evaluate.suites.suite import Row, Suite
from honed.evaluate.vacuous import vacuous
from honed.records import Conversation
from honed.registry import Verifier
from honed.segments import Rule


def evaluation(
    suite: Suite, matched: Matched, model: str, segments: Sequence[str] = SEGMENTS, rules: Sequence[Rule] = ()
) -> Evaluation:
    """Judge the answers of a file. A row without an answer fails as an empty one; what made them isn't known.

    ``segments`` are the tags that all is also given by, ``rules`` those of a file of segments.
    """
    suite = _segmented(suite, rules)
    rows = [row.conversation for row in suite.rows]
    known = {row.check.verifier: registry.get("verifiers", row.check.verifier) for row in suite.rows}
    floors, verdicts = scoring.floors(rows, known)
    answers = {
        asked.id: _answer(row, asked, matched.answers.get(row.id, ""), known, verdicts[asked.id])
        for row, asked in zip(suite.rows, rows, strict=True)
    }
    whole = outcome.rate(bool(answer.passed) for answer in answers.values())
    tags = {row.id: row.tags for row in rows}
    wanted = groups.worth(segments, tags.values())
    found = {tag: groups.groups(tag, answers, {}, tags) for tag in wanted}
    values = {
        "model": model,
        "model_hash": "",
        "template_hash": "",
        "data": f"suite {suite.manifest.name}",
        "data_hash": suite.hash,
        "split": "heldout",
        "rows": len(rows),
        "repeated": 0,
        "unverified": 0,
        "n": whole.n,
        "passed": whole.passed,
        "pass_rate": whole.rate,
        "interval": whole.interval,
        "guarded": outcome.rate(map(groups.guarded, answers.values())),
        "groups": found,
        "segments": {tag: one.passed for tag, one in found.items()},
        "floors": floors,
        "loss": None,
        "perplexity": None,
        "loss_rows": 0,
        "left_out": (),
        "max_tokens": 0,
        "answers": len(matched.answers),
        "resumed_answers": 0,
        "cut": 0,
        "tokens": 0,
        "tokens_per_second": None,
        "machine": "",
        "device": "",
        "precision": "",
        "batch_size": 0,
        "peak_rss_bytes": 0,
        "stages": {},
        "suite": scores.score(suite, matched.answers, tags=wanted),
        "rules": rules_.version(rules),
        "value": graded.graded(answers.values()),
        "reliable": reliable.reliable(answers.values()),
    }
    return Evaluation(matched.file, Outcome.model_validate(values), answers, {})


def _segmented(suite: Suite, rules: Sequence[Rule]) -> Suite:
    tagged = (row.model_copy(update={"tags": rules_.shown(rules, row.tags)}) for row in suite.rows)
    return replace(suite, rows=tuple(tagged)) if rules else suite


def _answer(
    row: Row, asked: Conversation, text: str, known: Mapping[str, Verifier], floors: Mapping[str, bool]
) -> Answer:
    score = scoring.judge(asked, text, known)
    assert score is not None, "every row of a suite has a verifier"
    return Answer(
        row=asked.id,
        prompt=row.prompt,
        ideal=row.ideal,
        tags=row.tags,
        answer=text,
        tokens=0,
        finish="stop",
        passed=score.passed,
        why=score.why,
        floors=floors,
        vacuous=vacuous(row.prompt, text, row.ideal, scoring.CONSTANTS),
        value=score.value,
        check=row.check,
    )

"""The evaluation process: ``python -m honed.evaluate.worker <job folder>``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from honed import config as settings_file
from honed import segments
from honed.errors import DataError, HonedError
from honed.evaluate import families, graded, groups, heldout, loss, outcome, reliable, scoring
from honed.evaluate.answerer import Answerer, answerer
from honed.evaluate.answers import Answering
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness import names, run_tasks
from honed.evaluate.loss_cache import LossCache
from honed.evaluate.outcome import SEGMENTS, Answer, LeftOut, Outcome, RowLoss
from honed.evaluate.scorers import own
from honed.evaluate.shard import Shard, shard
from honed.evaluate.suites import chosen, scores
from honed.evaluate.suites.result import SuiteScores
from honed.evaluate.suites.suite import Suite
from honed.jobs import job as jobs
from honed.jobs import last_words, memory, worker
from honed.jobs.events import Metric, SampleMade, Step
from honed.jobs.job import Job
from honed.models import devices
from honed.models.chat import Encoded
from honed.records import Conversation
from honed.segments import Rule
from honed.store import artifacts, datasets


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Answer and measure as ``config.yaml`` says, going on from what an earlier attempt made; return an ``Outcome``."""
    settings = settings_file.read(EvaluateConfig, job.path / "config.yaml")

    def check() -> None:
        if stopping():
            if words := last_words.of_the_lost(job):
                raise HonedError(*words)
            raise worker.Stopped

    if names.harness(settings.suite or ()):
        return _harness(job, settings, check)
    source = _source(job, settings)
    rows, repeated = scoring.choose(source.rows, settings.rows, settings.seed)
    scorer = own.find(settings.scorer) if settings.scorer else None
    rows = own.given(rows, scorer) if scorer else rows
    if not rows:
        raise DataError(f"{source.name} has no {settings.split} rows", "Use another --split, or hold some out.")
    known = scoring.verifiers(rows, {scorer.name: scorer.verify} if scorer else {})
    _say_what_is_less(job, settings, rows, repeated)
    part = shard(job)
    floors, verdicts = scoring.floors(rows, known)
    answering = Answering(part, rows, known, verdicts, settings.unverified_answers)
    base = _base(job, settings, source, [row.id for row in answering.wanted])
    stages: dict[str, float] = {}
    lost: _Lost = ({}, (), 0)
    with ExitStack() as closing:
        with _timed(stages, "load"):
            model = closing.enter_context(answerer(job, settings))
            answering.prepare(model, settings.max_tokens)
        with _timed(stages, "answers"):
            answering.run(model, settings.max_tokens, check)
        if settings.loss and source.suite is None and model.prepared:  # the rows of a suite have no ideal answers
            with _timed(stages, "loss"):
                lost = _losses(part, model, rows, settings, check)
    if not part.first:
        return {}
    losses, left_out, from_cache = lost
    tags = groups.worth(settings.segments, (row.tags for row in rows))
    values = {
        **_asked(model, settings, source),
        **_measured(job, answering.answers, losses, {row.id: families.family(row.tags, row.prompt) for row in rows}),
        **_by_tag(tags, {row.id: row.tags for row in rows}, answering.answers, losses, base),
        "reliable": reliable.reliable(answering.answers.values()),
        "scorer": scorer.said if scorer else "",
        "base": base.floor if base else None,
        "rows": len(rows),
        "repeated": repeated,
        "unverified": sum(row.check is None for row in rows),
        "floors": floors,
        "left_out": left_out,
        "suite": _suite_scores(source, rows, answering.answers, tags, check),
        "resumed_answers": answering.resumed,
        "cached_answers": model.from_cache,
        "cached_losses": from_cache,
        "tokens_per_second": answering.tokens_per_second,
        "peak_rss_bytes": memory.peak(),
        "stages": stages,
    }
    return Outcome.model_validate(values).model_dump(mode="json")


def _harness(job: Job, settings: EvaluateConfig, check: Callable[[], None]) -> dict[str, Any]:
    """Run another harness's tasks with the same model and engine; what they leave is an evaluation like any other."""
    stages: dict[str, float] = {}
    with ExitStack() as closing:
        with _timed(stages, "load"):
            model = closing.enter_context(answerer(job, settings))
        with _timed(stages, "answers"):
            ran = run_tasks.run(job, settings, model, check)
    answers = {
        row: one.model_copy(update={"tags": segments.shown(settings.rules, one.tags)}) if settings.rules else one
        for row, one in ran.answers.items()
    }
    for name, lines in ((outcome.SAMPLES, answers), (outcome.LOSSES, ran.losses)):
        (job.path / name).unlink(missing_ok=True)  # an attempt that was killed here
        outcome.append(job.path / name, lines.values())
    for one in answers.values():
        job.log.write(SampleMade(row=one.row, answer=one.answer, passed=one.passed))
    source = _Source(f"{ran.scores.harness} {', '.join(names.tasks(settings.suite or ()))}", ran.hash, (), None)
    base = _base(job, settings, source, list(answers))
    of_row = {row: one.tags for row, one in answers.items()}
    family = {row: families.family(one.tags, one.prompt) for row, one in answers.items()}
    values = {
        **_asked(model, settings, source),
        **_measured(job, answers, ran.losses, family),
        **_by_tag(groups.worth(settings.segments, of_row.values()), of_row, answers, ran.losses, base),
        "base": base.floor if base else None,
        "rows": len(answers),
        "repeated": 0,
        "unverified": sum(one.passed is None for one in answers.values()),
        "floors": ran.floors,
        "left_out": (),
        "resumed_answers": 0,
        "cached_answers": model.from_cache,
        "tokens_per_second": None,
        "peak_rss_bytes": memory.peak(),
        "stages": stages,
        "harness": ran.scores,
    }
    return Outcome.model_validate(values).model_dump(mode="json")


_Lost = tuple[dict[str, RowLoss], tuple[LeftOut, ...], int]
"""The rows' losses, which rows have none, and how many earlier jobs had measured."""


class _Source(NamedTuple):
    """Where the rows come from: a dataset, or a suite."""

    name: str
    hash: str
    rows: Iterable[Conversation]
    suite: Suite | None


def _source(job: Job, settings: EvaluateConfig) -> _Source:
    if settings.suite is not None:
        found = chosen.read(settings.suite)
        rows = [row.conversation for row in found.rows]
        name = f"suite {found.manifest.name}"
        return _Source(name, found.hash, segmented(rows, settings.rules), found)
    assert settings.data is not None, "the settings hold one of both"
    dataset = artifacts.resolve(job.workspace, "datasets", settings.data)
    rows_ = segmented(datasets.rows(dataset, settings.split), settings.rules)
    return _Source(dataset.ref, dataset.manifest.hash, rows_, None)


def segmented(rows: Iterable[Conversation], rules: Sequence[Rule]) -> Iterator[Conversation]:
    """Yield the rows, each with its segment among its tags."""
    for row in rows:
        yield row.model_copy(update={"tags": segments.shown(rules, row.tags)}) if rules else row


def _suite_scores(
    source: _Source,
    rows: Sequence[Conversation],
    answers: Mapping[str, Answer],
    tags: Sequence[str],
    check: Callable[[], None],
) -> SuiteScores | None:
    """Score the rows of a suite that were answered, all of them or those that were chosen."""
    if source.suite is None:
        return None
    wanted = {row.id: row.tags for row in rows}
    found = [(row, row.conversation.id) for row in source.suite.rows]
    asked = [(row.model_copy(update={"tags": wanted[id_]}), id_) for row, id_ in found if id_ in wanted]
    given = {row.id: answers[id_].answer for row, id_ in asked if id_ in answers}
    return scores.score(replace(source.suite, rows=tuple(row for row, _ in asked)), given, check, tags)


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[name] = round(time.perf_counter() - start, 2)


def _say_what_is_less(job: Job, settings: EvaluateConfig, rows: Sequence[Conversation], repeated: int) -> None:
    """Tell of rows that count less than the user may think; once, not at every attempt."""
    if job.status().attempt > 1:
        return
    if repeated:
        job.log.note(f"{repeated} rows repeat another row's turns and count once")
    if settings.rows and settings.rows > len(rows):
        job.log.note(f"{settings.rows} rows were asked for, and there are {len(rows)}: all are used")
    wanted = [tag for tag in settings.segments if tag not in SEGMENTS]  # the usual ones are always tried
    for what in segments.unmatched(wanted, settings.rules, [row.tags for row in rows]):
        job.log.note(f"{what}: nothing is given by it")
    if unverified := sum(row.check is None for row in rows):
        answered = min(unverified, settings.unverified_answers)
        counts = "count for the loss only" if settings.loss and settings.suite is None else "are not measured"
        job.log.note(f"{unverified} of {len(rows)} rows have no verifier and {counts}; {answered} of them are answered")


def _losses(
    part: Shard, model: Answerer, rows: Sequence[Conversation], settings: EvaluateConfig, check: Callable[[], None]
) -> _Lost:
    """Return the rows' losses, which rows have none, and how many earlier jobs had measured: then none is loaded."""
    assert model.prepared is not None, "a server gives no likelihoods"
    chat = model.prepared.chat
    job, path = part.job, part.path(outcome.LOSSES)
    outcome.mend(path)
    losses = part.read(RowLoss, outcome.LOSSES)
    encoded, left_out = loss.encode(rows, chat, model.prepared.context)
    if left_out:
        first = left_out[0]
        job.log.note(f"{len(left_out)} rows have no loss; the first is {first.row}: {first.why}")
    of_row = {row.id: {"tags": row.tags, "family": families.family(row.tags, row.prompt)} for row in rows}
    todo = {name: encoded[name] for name in part.own(list(encoded)) if name not in losses}
    check()
    with ExitStack() as closing:
        cache: LossCache | None = None
        known: dict[str, RowLoss] = {}
        if settings.answer_cache:
            cache = LossCache(job.workspace, model.hash, chat.hash, settings.precision, model.device)
            closing.callback(cache.close)
            known = cache.get(todo)
        for measured in _measure(model, todo, known, settings.batch_size):
            lines = [line.model_copy(update=of_row[line.row]) for line in measured]
            outcome.append(path, lines)
            if cache:
                cache.keep(encoded, [line for line in lines if line.row not in known])
            losses |= {line.row: line for line in lines}
            job.log.write(Step(stage="loss", step=len(losses), total=len(encoded)))
            check()
    found = part.gather(RowLoss, outcome.LOSSES, encoded, check) if part.first else losses
    return found, left_out, len(known)


def _measure(
    model: Answerer, rows: Mapping[str, Encoded], known: Mapping[str, RowLoss], batch_size: int
) -> Iterator[list[RowLoss]]:
    """Yield the losses that are known, then the others as they are measured; without others no model is loaded."""
    if known:
        yield list(known.values())
    todo = {name: row for name, row in rows.items() if name not in known}
    if not todo:
        return
    loaded = model.loaded
    assert loaded is not None, "a server gives no likelihoods"
    for measured in loss.measure(loaded, todo, batch_size):
        yield [line.model_copy(update={"bytes": loss.size(todo[line.row], loaded.chat)}) for line in measured]


def _measured(
    job: Job, answers: Mapping[str, Answer], losses: Mapping[str, RowLoss], family: Mapping[str, str]
) -> dict[str, Any]:
    judged = [(answer.tags, answer.passed) for answer in answers.values() if answer.passed is not None]
    whole = outcome.rate(passed for _, passed in judged) if judged else None
    lost = list(losses.values())
    nats = loss.per_token(lost)
    for name, value in (("pass_rate", whole.rate if whole else None), ("heldout_loss", nats)):
        if value is not None:
            job.log.write(Metric(name=name, value=value))
    return {
        "n": whole.n if whole else 0,
        "passed": whole.passed if whole else 0,
        "pass_rate": whole.rate if whole else None,
        "interval": whole.interval if whole else None,
        "loss": nats,
        "loss_interval": heldout.per_token(lost, family),
        "perplexity": math.exp(nats) if nats is not None else None,
        "bits_per_byte": loss.bits_per_byte(lost),
        "bits_per_byte_interval": heldout.per_byte(lost, family),
        "loss_rows": len(losses),
        "answers": len(answers),
        "value": graded.graded(answers.values()),
        "cut": sum(answer.finish == "length" for answer in answers.values()),
        "tokens": sum(answer.tokens for answer in answers.values()),
    }


def _by_tag(
    tags: Sequence[str],
    of_row: Mapping[str, Mapping[str, str]],
    answers: Mapping[str, Answer],
    losses: Mapping[str, RowLoss],
    base: groups.Base | None,
) -> dict[str, Any]:
    """Return all metrics by tag (``of_row`` are each row's), and the guarded pass rate of all rows."""
    found = {tag: groups.groups(tag, answers, losses, of_row, base) for tag in tags}
    judged = [answer for answer in answers.values() if answer.passed is not None]
    return {
        "groups": found,
        "segments": {tag: one.passed for tag, one in found.items()},
        "guarded": outcome.rate(map(groups.guarded, judged)) if judged else None,
    }


def _base(job: Job, settings: EvaluateConfig, source: _Source, rows: Sequence[str]) -> groups.Base | None:
    if settings.base is None:
        return None
    return groups.base(jobs.find(job.workspace, settings.base), source.hash, rows)


def _asked(model: Answerer, settings: EvaluateConfig, source: _Source) -> dict[str, Any]:
    """Who was asked what, on which machine."""
    machine = devices.hardware(Path.cwd())
    return {
        "model": model.ref,
        "model_hash": model.hash,
        "template_hash": model.template_hash,
        "device": model.device,
        "unknown": model.unknown,
        "data": source.name,
        "data_hash": source.hash,
        "split": settings.split,
        "rules": segments.version(settings.rules),
        "max_tokens": settings.max_tokens,
        "precision": model.precision,
        "ranks": settings.ranks,
        "batch_size": settings.batch_size,
        "machine": f"{machine.cpu}, {machine.cores} cores, {machine.memory / 1e9:.0f} GB, torch {torch.__version__}",
    }


if __name__ == "__main__":
    worker.main(work)

"""Whose answers are judged: those of evaluation jobs, or of JSONL files, by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from honed.errors import DataError, JobError
from honed.evaluate import compare
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.suites import stored
from honed.jobs import job as jobs
from honed.records import Message, Record, digest, turns_id
from honed.segments import Rule
from honed.store.workspace import Workspace


class Answered(Record):
    """One model's answer to a prompt."""

    prompt: tuple[Message, ...]
    answer: str
    tags: Mapping[str, str] = {}


class Answers(Record):
    """All answers of one model by the prompt's id. ``name`` is the model's, or the file's; ``job`` is "" for a file."""

    name: str
    job: str
    repeated: int
    by_prompt: Mapping[str, Answered]


class Sides(Record):
    """Whose answers were compared: names and jobs ("" for a file), prompts compared, and those of one side only."""

    base: str
    tuned: str
    base_job: str
    tuned_job: str
    prompts: int
    apart: int


class Pair(Record):
    """Two answers to one prompt."""

    id: str
    prompt: tuple[Message, ...]
    tags: Mapping[str, str]
    base: str
    tuned: str


def pinned(workspace: Workspace, name: str) -> str:
    """Return what a job keeps of ``name``: an evaluation's whole id, or a file's absolute path.

    Raises ``JobError`` if it is neither a file nor a finished evaluation.
    """
    path = Path(name)
    if path.suffix in (".jsonl", ".json") or path.is_file():
        if not path.is_file():
            raise DataError(f"{name}: there is no such file", "Give an evaluation's job, or a file of answers.")
        return str(path.resolve())
    job = jobs.find(workspace, name)
    status = job.status()
    if status.stage != "evaluate" or status.state != "done":
        raise JobError(
            f"job {job.id} is no finished evaluation: it is {status.stage}, {status.state}",
            "Give jobs that honed evaluate made, or JSONL files of {prompt, response}.",
        )
    return job.id


def read(workspace: Workspace, name: str, rules: Sequence[Rule] = ()) -> Answers:
    """Return the answers that ``pinned`` named, with their segment by ``rules`` among their tags.

    Of answers to one prompt the first counts, the others are counted.
    """
    path = Path(name)
    if path.is_absolute():
        given = [Answered(prompt=line.prompt, answer=line.response) for _, line in stored.lines(path)]
        return _by_prompt(path.name, "", given)
    found = compare.read(jobs.find(workspace, name))
    if rules:
        found = compare.segmented(found, rules)
    given = [Answered(prompt=one.prompt, answer=one.answer, tags=one.tags) for _, one in sorted(found.answers.items())]
    return _by_prompt(found.outcome.model, found.job, given)


def pairs(base: Answers, tuned: Answers) -> list[Pair]:
    """Return the prompts that both answered, in the order of their ids. Raises ``DataError`` if there is none."""
    shared = sorted(base.by_prompt.keys() & tuned.by_prompt.keys())
    if not shared:
        raise DataError(
            f"{base.job or base.name} and {tuned.job or tuned.name} share no prompt",
            "Evaluate both models on the same --data, --split and --rows.",
        )
    return [
        Pair(
            id=id_,
            prompt=base.by_prompt[id_].prompt,
            tags={**tuned.by_prompt[id_].tags, **base.by_prompt[id_].tags},
            base=base.by_prompt[id_].answer,
            tuned=tuned.by_prompt[id_].answer,
        )
        for id_ in shared
    ]


class Compared(NamedTuple):
    """The pairs that a job compares, whose they are, and what was read."""

    pairs: list[Pair]
    sides: Sides
    given: tuple[Answers, ...]


def compared(workspace: Workspace, settings: JudgeConfig) -> Compared:
    """Read two models' answers and pair them. Raises as ``read`` and ``pairs`` do."""
    base, tuned = (read(workspace, name, settings.rules) for name in settings.answers)
    shared = pairs(base, tuned)
    wanted = set(chosen([pair.id for pair in shared], settings.rows, settings.seed))
    found = [pair for pair in shared if pair.id in wanted]
    return Compared(found, _sides(base, tuned, len(found)), (base, tuned))


def picked(workspace: Workspace, settings: JudgeConfig) -> list[tuple[Answers, dict[str, Answered]]]:
    """Read each model's answers, with those that a rubric is to score. Raises ``DataError`` if there are none."""
    found = []
    for name in settings.answers:
        one = read(workspace, name, settings.rules)
        ids = chosen(sorted(one.by_prompt), settings.rows, settings.seed)
        if not ids:
            raise DataError(f"{one.job or one.name}: there are no answers", "Evaluate the model on some rows.")
        found.append((one, {id_: one.by_prompt[id_] for id_ in ids}))
    return found


def _sides(base: Answers, tuned: Answers, prompts: int) -> Sides:
    """Return whose answers are compared, on how many prompts."""
    return Sides(
        base=base.name,
        tuned=tuned.name,
        base_job=base.job,
        tuned_job=tuned.job,
        prompts=prompts,
        apart=len(base.by_prompt.keys() ^ tuned.by_prompt.keys()),
    )


def chosen(ids: Sequence[str], rows: int | None, seed: int) -> list[str]:
    """Return ``rows`` of the ids, or all of them, by a hash of each with the seed: the same whatever else there is."""
    if rows is None or rows >= len(ids):
        return list(ids)
    return sorted(sorted(ids, key=lambda id_: digest([seed, id_]))[:rows])


def _by_prompt(name: str, job: str, given: Sequence[Answered]) -> Answers:
    found: dict[str, Answered] = {}
    for one in given:
        found.setdefault(turns_id(one.prompt), one)
    return Answers(name=name, job=job, repeated=len(given) - len(found), by_prompt=found)

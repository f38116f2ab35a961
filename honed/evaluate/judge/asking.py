"""Asking a judge: each reply is on the disk as it comes, one without the form is asked for once more, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from honed.evaluate import outcome
from honed.evaluate.judge import prompts
from honed.evaluate.judge.reply import Said
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.models.engine import Completion
from honed.records import Message, Record
from honed.store.workspace import writing

FILE = "replies.jsonl"
_STAGES = ("ask", "ask again for the form")
_ATTEMPTS = len(_STAGES)


class Question(NamedTuple):
    """What a judge is asked, under a name that no other question of the job has."""

    key: str
    messages: tuple[Message, ...]


class Judge(Protocol):
    """Whoever answers questions: a model on this machine, or behind an endpoint."""

    def ask(
        self,
        questions: Sequence[tuple[Message, ...]],
        schema: Mapping[str, object],
        told: Callable[[int, Completion | str], None],
    ) -> None:
        """Tell of each question's reply, or why it can't have one, as they come; what ``told`` raises ends it all."""
        ...


class Reply(Record):
    """One line of ``replies.jsonl``: what the judge said, at the first or the second time of asking.

    ``refused`` says why the question couldn't be put to it (too long for it), and is "" otherwise.
    """

    key: str
    attempt: int
    text: str
    cut: bool
    prompt_tokens: int
    tokens: int
    refused: str = ""


class Asking:
    """The replies of one job. ``read`` turns a text into what it says; what an earlier attempt got is kept."""

    def __init__(self, job: Job, read: Callable[[str], Said], criteria: Mapping[str, str]) -> None:
        self._job, self._read, self._criteria = job, read, criteria
        self._path = job.path / FILE
        outcome.mend(self._path)
        self.replies = _kept(self._path)
        self.resumed = len(self.replies)

    def run(self, judge: Judge, questions: Sequence[Question], check: Callable[[], None]) -> dict[str, Said]:
        """Return what was said to each question; ``check`` is called after each reply and may raise to stop.

        Raises what the judge does when it is gone for good; what came before is kept.
        """
        if self.resumed:
            self._job.log.note(f"{self.resumed} replies were there already")
        for attempt in range(1, _ATTEMPTS + 1):
            check()
            if todo := [one for one in questions if self._open(one.key, attempt)]:
                self._ask(judge, todo, attempt, check)
                check()  # a judge that is asked to stop returns early
        return {one.key: self.said(one.key) for one in questions}

    def _ask(self, judge: Judge, todo: Sequence[Question], attempt: int, check: Callable[[], None]) -> None:
        done = 0

        def told(place: int, reply: Completion | str) -> None:
            nonlocal done
            self._keep(todo[place].key, attempt, reply)
            done += 1
            self._job.log.write(Step(stage=_STAGES[attempt - 1], step=done, total=len(todo)))
            check()

        judge.ask([self._messages(one, attempt) for one in todo], schema(self._criteria), told)

    def said(self, key: str) -> Said:
        """Return what the last reply to a question says."""
        reply = self.replies.get((key, 2)) or self.replies[key, 1]
        if reply.refused:
            return Said(unusable=reply.refused)
        if reply.cut and not reply.text:
            return Said(unusable="it ended inside its reasoning: raise max_tokens")
        said = self._read(reply.text)
        return (
            said.model_copy(update={"unusable": f"cut off: {said.unusable}"}) if said.unusable and reply.cut else said
        )

    def _open(self, key: str, attempt: int) -> bool:
        if (key, attempt) in self.replies:
            return False
        if attempt == 1:
            return True
        first = self.replies[key, 1]
        if first.cut and not first.text:  # as long a reply would end inside its reasoning again
            return False
        return not first.refused and bool(self._read(first.text).unusable)

    def _messages(self, question: Question, attempt: int) -> tuple[Message, ...]:
        if attempt == 1:
            return question.messages
        return prompts.again(question.messages, self.replies[question.key, 1].text, self._criteria)

    def _keep(self, key: str, attempt: int, came: Completion | str) -> None:
        if isinstance(came, str):
            reply = Reply(key=key, attempt=attempt, text="", cut=False, prompt_tokens=0, tokens=0, refused=came)
        else:
            reply = Reply(
                key=key,
                attempt=attempt,
                text=came.text,
                cut=came.finish == "length",
                prompt_tokens=came.prompt_tokens,
                tokens=came.tokens,
            )
        with writing(self._path), self._path.open("a") as file:
            file.write(reply.model_dump_json() + "\n")
        self.replies[key, attempt] = reply


def begun(job: Job) -> bool:
    """Return whether an earlier attempt of the job got a reply."""
    return any(not reply.refused for reply in _kept(job.path / FILE).values())


def schema(criteria: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON schema of a reply, for servers that can hold a model to one."""
    score = {"type": "integer", "minimum": 1, "maximum": 5}
    inner: dict[str, object] = {"verdict": {"type": "string", "enum": ["A", "B", "tie"]}}
    if criteria:
        inner = {"scores": _object(dict.fromkeys(criteria, score))}
    return _object({"reason": {"type": "string"}, **inner})


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _kept(path: Path) -> dict[tuple[str, int], Reply]:
    found: dict[tuple[str, int], Reply] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            reply = Reply.model_validate_json(line)
        except ValidationError:
            continue  # torn by a kill; it is asked again
        found[reply.key, reply.attempt] = reply
    return found

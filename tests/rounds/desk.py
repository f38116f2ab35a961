"""A desk with a tiny live model, held-out questions and people whose edits all say the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from honed.config import build
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.records import Check, Consent, Conversation, FeedbackEvent, Interaction, Message, Split
from honed.rounds import outcome, run, worker
from honed.rounds.config import RoundConfig
from honed.rounds.outcome import RoundOutcome
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.workspace import Workspace

ANSWER = "billing"
FAST = {
    "epochs": 10, "batch_tokens": 300, "pack_tokens": 300, "learning_rate": 1e-2, "precision": "fp32",
    "weights": "full", "eval_rows": 0,
}  # fmt: skip


def question(text: str, answer: str = ANSWER, audience: str = "") -> Conversation:
    """An instruction whose right answer is the queue ``billing``."""
    turns = (Message(role="user", content=text), Message(role="assistant", content=answer))
    check = Check(verifier="route", params={"queue": ANSWER, "queues": [ANSWER, "returns"]})
    return Conversation(messages=turns, tags={"audience": audience} if audience else {}, check=check)


def write_data(workspace: Workspace) -> Artifact:
    """12 held-out questions of two audiences, and 6 training rows.

    All are of one queue, so the held-out rows' own answers name none: else their most frequent one, which is a floor,
    would pass them all.
    """
    rows: list[tuple[Conversation, Split]] = [
        (question(f"Bill {n}: which queue?", "Ask the desk.", ("expert", "novice")[n % 2]), "heldout")
        for n in range(100, 112)
    ]
    rows += [(question(f"Bill {n}: which queue?"), "train") for n in range(200, 206)]
    return datasets.write(workspace, "bills", rows, config={}, facts={})


def speak(
    workspace: Workspace,
    model: str,
    texts: Sequence[str],
    *,
    answer: str = "hm",
    edit: str = ANSWER,
    granted: bool = True,
) -> list[FeedbackEvent]:
    """Each text is asked by a person of its own, answered with ``answer``, and edited to ``edit`` (a thumb if "")."""
    database = open_database(workspace)
    store = Interactions(database)
    events = []
    for text in texts:
        id_ = f"i-{text}-{edit}".replace(" ", "-")
        prompt = (Message(role="user", content=text),)
        store.add(
            Interaction(
                id=id_,
                created=time.time(),
                prompt=prompt,
                answer=answer,
                finish="stop",
                prompt_tokens=1,
                tokens=1,
                model=model,
                model_hash="0",
                template_hash="0",
                sampling={},
                subject=f"s-{text}",
            )
        )
        store.set_consent(Consent(subject=f"s-{text}", purpose="train", granted=granted, created=time.time()))
        said: dict[str, Any] = {"kind": "edit", "text": edit} if edit else {"kind": "thumb", "good": True}
        event = FeedbackEvent(id=f"f-{id_}", created=time.time(), interaction=id_, subject=f"s-{text}", **said)
        store.add_feedback(event, [f"n-{id_}"])
        events.append(event)
    database.close()
    return events


def settings(**values: Any) -> dict[str, Any]:
    """A round on the desk's questions that is quick on a tiny model."""
    return {
        "name": "desk", "data": "bills", "suites": [{"data": "bills", "role": "improve"}],
        "gate": {"least_rows": 6}, "sft": FAST, "dpo": {"enabled": False}, "evaluate": {"max_tokens": 8}, **values,
    }  # fmt: skip


def start(workspace: Workspace, **values: Any) -> Job:
    """Start a round."""
    return run.run(workspace, build(RoundConfig, settings(**values), "round"))


def here(workspace: Workspace, **values: Any) -> RoundOutcome:
    """Run a round in this process, its trainings and evaluations in theirs; return what it left."""
    config = run.resolved(workspace, build(RoundConfig, settings(**values), "round"))
    result = worker.work(jobs.create(workspace, "rounds", config), lambda: False)
    return outcome.read(artifacts.resolve(workspace, "rounds", result["round"]))


def finish(job: Job) -> RoundOutcome:
    """Wait for a round and return what it left."""
    for _ in launch.follow(job):
        pass
    assert job.status().state == "done", (job.path / "log.txt").read_text()
    return outcome.read(artifacts.resolve(job.workspace, "rounds", job.result()["round"]))

"""A workspace with something of everything, and a real server over it whose models say what a script says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from honed.evaluate.outcome import rate
from honed.evaluate.stats import Interval
from honed.jobs import job as jobs
from honed.jobs.events import Metric, Note, Step
from honed.jobs.job import Job
from honed.models.engine import Completion, Deliver, Reasoning, Sampling
from honed.records import Message
from honed.rounds import outcome
from honed.rounds.outcome import AudienceOutcome, Finding, Role, RoundOutcome, SuiteOutcome
from honed.serve.config import ServeConfig
from honed.serve.pool import Pool, Served
from honed.store import aliases, artifacts
from honed.store.artifacts import Artifact
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.tokens import open_signer
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from honed.web.app import make_app

Script = Callable[[Sequence[Message], Sampling], str]
ENDLESS = "count without end"
PONDER = "think first"


@dataclass
class Scripted:
    """A ``LiveEngine`` that says what ``script`` returns, word by word; on ``ENDLESS`` it counts until cancelled.

    On ``PONDER`` it reasons first.
    """

    script: Script
    seen: list[tuple[Sequence[Message], Sampling]] = field(default_factory=list)
    closed: bool = False

    def submit(self, prompt: Sequence[Message], sampling: Sampling, deliver: Deliver) -> Callable[[], None]:
        """Answer in a thread of its own."""
        self.seen.append((prompt, sampling))
        cancelled = threading.Event()
        threading.Thread(target=self._say, args=(prompt, sampling, deliver, cancelled), daemon=True).start()
        return cancelled.set

    def close(self) -> None:
        """Take note of it."""
        self.closed = True

    def _say(self, prompt: Sequence[Message], sampling: Sampling, deliver: Deliver, cancelled: threading.Event) -> None:
        said: list[str] = []
        if prompt[-1].content == PONDER:
            deliver(Reasoning("Let me "))
            deliver(Reasoning("think."))
        for word in self._words(prompt, sampling):
            if cancelled.wait(0.005):
                break
            deliver(word)
            said.append(word)
        finish = "cancelled" if cancelled.is_set() else "stop"
        deliver(Completion.model_validate({"text": "".join(said), "tokens": len(said), "finish": finish}))

    def _words(self, prompt: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        number = 0
        while prompt[-1].content == ENDLESS:
            number += 1
            yield f"{number} "
        words = self.script(prompt, sampling).split(" ")
        yield from [*(f"{word} " for word in words[:-1]), words[-1]]


@dataclass
class Site:
    """A running server: where it is, what it stores, its models' engines."""

    url: str
    store: Interactions
    engines: Mapping[str, Scripted]
    workspace: Workspace


@contextmanager
def serving(
    workspace: Workspace, scripts: Mapping[str, Script], *, segments: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Site]:
    """Serve a model for each script, on a free port."""
    engines = {name: Scripted(script) for name, script in scripts.items()}

    def load(spec: str) -> Served:
        return Served(spec, f"hash of {spec}", "hash of its template", 4096, engines[spec])

    config = ServeConfig.model_validate({"models": tuple(scripts), "port": 0, "segments": segments or {}})
    database = open_database(workspace)
    pool = Pool(load, workspace, list(scripts))
    store = Interactions(database)
    app = make_app(workspace, pool, store, open_signer(workspace), config)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", store, engines, workspace)
    finally:
        server.should_exit = True
        thread.join()
        pool.close()
        database.close()
        listening.close()


def add_model(workspace: Workspace, name: str, parents: Mapping[str, str], **facts: Any) -> Artifact:
    """Put a model into the workspace that has all but weights."""
    with artifacts.draft(workspace, "models", name) as scratch:
        (scratch / "weights").write_text(f"{name} {facts}")
        settings = {"base": next(iter(parents), "none"), "weights": "lora", "learning_rate": 2e-4, "epochs": 2.0}
        return artifacts.publish(scratch, "models", parents=parents, config=settings, facts=facts)


def add_job(workspace: Workspace, *, state: str = "done", steps: int = 0, total: int = 120) -> Job:
    """Put a training job into the workspace that has done ``steps`` of its steps."""
    job = jobs.create(workspace, "train", TrainConfig(base="smollm2-135m", data="support"))
    now = time.time()
    job.log.write(Note(text="learning_rate 0.0002: for LoRA weights", time=now - steps))
    job.log.write(Note(text="1 row left out: longer than the context", time=now - steps))
    take_steps(job, 1, steps, total)
    status = job.status().model_copy(update={"state": state, "attempt": 1, "pid": 1, "started": now - 2 * steps})
    job.set_status(status.model_copy(update={} if state == "running" else {"ended": now}))
    if state == "done":
        job.set_result({"model": "support@v1", "device": "cpu", "precision": "bfloat16", "tokens": 182_400})
    return job


def take_steps(job: Job, first: int, last: int, total: int) -> None:
    """Write the events of some steps: a loss that falls, with a wave on it."""
    now = time.time()
    for step in range(first, last + 1):
        wave = 0.12 * ((step * 37) % 17 / 17 - 0.5)
        values = {"loss": 0.7 + 1.6 / (1 + step / 14) + wave, "tokens_per_second": 270 + (step * 31) % 23}
        when = now - 2.0 * (last - step)
        job.log.write(Step(stage="train", step=step, total=total, values=values, time=when))
        if step % 20 == 0:
            job.log.write(Metric(name="heldout_loss", value=0.86 + 1.4 / (1 + step / 14), step=step, time=when))


def add_round(workspace: Workspace, name: str, before: str, candidate: str | None, **rest: Any) -> Artifact:
    """Put a round into the workspace."""
    made = RoundOutcome(
        name=name,
        alias="live",
        before=before,
        base=before,
        candidate=candidate,
        feedback={"interactions": 200, "edits": 164, "choices": 21, "thumbs": 15, "people": 12},
        left_out={"no consent to train": 9, "replaced by a later edit": 4},
        dataset="support@v2",
        seconds={"derive": 0.4, "mix": 0.3, "sft": 214.0, "before/house-rule": 61.0, "after/house-rule": 58.0},
        **rest,
    )
    with artifacts.draft(workspace, "rounds", name) as scratch:
        (scratch / outcome.FILE).write_text(made.model_dump_json())
        parents = {ref: "0" * 16 for ref in (before, candidate) if ref}
        return artifacts.publish(scratch, "rounds", parents=parents, config={}, facts={})


def suite(name: str, role: Role, was: int, is_: int, n: int, verdict: Finding, reason: str) -> SuiteOutcome:
    """A suite in which ``was`` of ``n`` rows passed before and ``is_`` after."""
    half = n // 2
    kinds = [("beginner", was // 2, is_ // 2, half), ("expert", was - was // 2, is_ - is_ // 2, n - half)]
    audiences = [_audience(*kind) for kind in kinds]
    return SuiteOutcome(
        data="support@v1", role=role, p_value=0.00004 if is_ - was > 5 else 0.62, audiences=tuple(audiences),
        reason=reason, **{**_audience(name, was, is_, n).model_dump(exclude={"reason", "tag"}), "verdict": verdict},
    )  # fmt: skip


def _audience(name: str, was: int, is_: int, n: int) -> AudienceOutcome:
    change = (is_ - was) / n
    won, lost = (is_ - was + 3, 3) if is_ >= was else (2, was - is_ + 2)
    return AudienceOutcome(
        name=name, n=n, before=_rate(was, n), after=_rate(is_, n), difference=change,
        interval=Interval(change - 0.06, change + 0.06), won=won, lost=lost,
        verdict="fail" if change < -0.1 else "pass", reason=f"{name} may fall by 10 points.",
    )  # fmt: skip


def _rate(passed: int, n: int) -> Any:
    return rate([True] * passed + [False] * (n - passed))


def furnish(workspace: Workspace) -> None:
    """Three models of which the second is live, a promoted and a held round, a few jobs."""
    first = add_model(workspace, "support", {"smollm2-135m": "5f3c", "support@v1": "9a11"}, parameters=134_515_008)
    second = add_model(workspace, "support", {first.ref: first.manifest.hash, "support@v2": "77be"}, rows=612)
    third = add_model(workspace, "support", {second.ref: second.manifest.hash, "support@v3": "c0de"}, rows=655)
    done = add_job(workspace, steps=120)
    aliases.move(workspace, "live", first.ref, why="the first model")
    good = suite("house-rule", "improve", 9, 101, 140, "pass", "It rose by 66 points, which chance does not do.")
    kept = suite("helpdesk", "keep", 83, 85, 140, "pass", "The change is at least −4 points with 95 % certainty.")
    fell = suite("helpdesk", "keep", 83, 52, 140, "fail", "It may have fallen by 30 points; 5 are allowed.")
    steps = {"round": done.id, "sft": done.id, "before/house-rule": done.id, "after/house-rule": done.id}
    add_round(
        workspace, "support", first.ref, second.ref, verdict="promoted", suites=(good, kept), jobs=steps,
        reasons=("house-rule rose from 6 % to 72 % (p < 0.001).", "helpdesk did not fall: +1 point.",
                 "No audience fell beyond 10 points."),
    )  # fmt: skip
    aliases.move(workspace, "live", second.ref, why="better on house-rule", round_="support@v1")
    add_round(
        workspace, "support", second.ref, third.ref, verdict="held", suites=(fell,), jobs={"sft": done.id},
        reasons=("helpdesk fell from 59 % to 37 %, more than the 5 points that are allowed.",),
    )  # fmt: skip

"""The process that drives a round: ``python -m honed.rounds.worker <job folder>``. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from honed import config as settings_file
from honed.data import dropped, licences
from honed.errors import StoreError
from honed.evaluate.finding import Judgement
from honed.evaluate.gate import judge
from honed.evaluate.run import resolved as evaluation_settings
from honed.evaluate.run import run as start_evaluation
from honed.evaluate.suites import chosen
from honed.feedback.derive import VERSION, derive
from honed.jobs import worker
from honed.jobs.events import ArtifactMade
from honed.jobs.job import Job
from honed.records import Conversation, Split
from honed.rounds import gate, outcome, plan
from honed.rounds.config import RoundConfig
from honed.rounds.mix import SEED, Source, mix
from honed.rounds.outcome import RoundOutcome
from honed.rounds.run import database_url
from honed.rounds.steps import Ledger, Steps
from honed.store import aliases, artifacts, datasets
from honed.store.artifacts import Artifact, Kind
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.workspace import write_whole
from honed.train.run import run as start_training

LEFT_OUT = "left_out.jsonl"
"""The events that gave no record, each with its reason: in the round's job, and beside the derived rows."""


def work(job: Job, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Run the round of ``config.yaml``, going on where an earlier attempt was; return its ref, verdict and reasons."""
    config = settings_file.read(RoundConfig, job.path / "config.yaml")
    ledger = Ledger(job)
    if ledger.live is None:
        ledger.begin(_live(job, config))
    assert ledger.live is not None
    made = _made(job) or _Round(job, config, ledger.live, Steps(job, ledger, stopping)).run()
    found = outcome.read(made)
    _promote(job, found)
    job.log.write(ArtifactMade(name=made.ref, path=str(made.path)))
    keys = {"verdict", "reasons", "before", "candidate", "dataset"}
    return {"round": made.ref, **found.model_dump(mode="json", include=keys)}


@dataclass
class _Round:
    """One round under way: each of its methods is a step, which is done once whatever happens."""

    job: Job
    config: RoundConfig
    live: str
    steps: Steps

    def run(self) -> Artifact:
        """Derive, mix, train, evaluate, judge; publish the round, whatever the verdict."""
        derived = self.steps.here("derive", self._derive)
        if derived["dataset"] is None:
            return self._publish(_held(_nothing(derived)), derived)
        mixed = self.steps.here("mix", lambda: self._mix(derived["dataset"]))
        wants = plan.wants_preferences(self.config)
        if not mixed["fresh"] and not (mixed["pairs"] and wants):
            return self._publish(_held(_untrainable(derived, mixed)), derived, mixed)
        candidate = self._train(mixed, wants)
        return self._publish(self._judge(candidate), derived, mixed, candidate)

    def _derive(self) -> dict[str, Any]:
        """Turn what people said, and allow now, into a dataset; None if it gives no record."""
        workspace, name = self.job.workspace, f"{self.config.name}-feedback"
        database = open_database(workspace, database_url(self.config))
        try:
            store = Interactions(database)
            events = list(store.feedback())
            found = derive(store.interactions(rated=True), events, store.consents(), self.config.derive)
            answers = store.counts()["interactions"]
        finally:
            database.close()
        lines = "".join(line.model_dump_json() + "\n" for line in found.left_out)
        write_whole(self.job.path / LEFT_OUT, lines)
        counts = {
            "interactions": answers,
            "events": len(events),
            "rows": len(found.rows),
            "preferences": len(found.preferences),
            "ratings": len(found.ratings),
            "left_out": len(found.left_out),
        }
        reasons = dict(Counter(line.reason for line in found.left_out).most_common())
        made = None
        if found.rows or found.preferences or found.ratings:
            made = datasets.write(
                workspace,
                name,
                ((row, "train") for row in found.rows),
                config={"derive": self.config.derive.model_dump(mode="json"), "version": VERSION},
                facts={"feedback": counts, "reasons": reasons, "licences": {name: licences.CONSENT}},
                files=[self.job.path / LEFT_OUT],
                preferences=found.preferences,
                ratings=found.ratings,
            ).ref
        self.job.log.note(_said(counts))
        return {"dataset": made, "feedback": counts, "left_out": reasons}

    def _mix(self, derived: str) -> dict[str, Any]:
        """Join the derived records with those of the dataset before; None if no derived one may be trained on."""
        workspace, config = self.job.workspace, self.config
        feedback, before = (artifacts.resolve(workspace, "datasets", ref) for ref in (derived, config.data))
        made = mix(_source(feedback), _source(before), self._heldout(), config.replay)
        counts = {
            "fresh": made.fresh,
            "pairs": made.fresh_pairs,
            "replayed": len(made.rows) - made.fresh,
            "leaks": sum(fault.kind == "leak" and fault.file == feedback.ref for fault, _ in made.left_out),
        }
        lines = b"".join(dropped.line(fault, text) for fault, text in made.left_out)
        write_whole(self.job.path / dropped.FILE, lines.decode())
        if not made.fresh and not made.fresh_pairs:
            return {"dataset": None, **counts}
        held = datasets.rows(before, "heldout")
        dataset = datasets.write(
            workspace,
            f"{config.name}-data",
            _placed(made.rows, held),
            config={"data": before.ref, "replay": config.replay, "seed": SEED},
            facts={**counts, "dropped": made.reasons, "licences": licences.carried((feedback, before))},
            files=[self.job.path / dropped.FILE],
            preferences=made.preferences,
            ratings=made.ratings,
            parents={source.ref: source.manifest.hash for source in (feedback, before)},
        )
        said = f"{dataset.ref}: {counts['fresh']} rows and {counts['pairs']} pairs from feedback"
        left = "".join(f", {count} {kind}" for kind, count in made.reasons.items())
        self.job.log.note(f"{said}, {counts['replayed']} rows of {before.ref}{left and '; left out' + left[1:]}")
        return {"dataset": dataset.ref, **counts}

    def _heldout(self) -> dict[str, str]:
        """Return the ids of every held-out prompt, of the suites and of the dataset before, each with its source."""
        refs = dict.fromkeys([*(suite.data for suite in self.config.suites if suite.data), self.config.data])
        data = [artifacts.resolve(self.job.workspace, "datasets", ref) for ref in refs]
        held = {row.prompt_id: one.ref for one in data for row in datasets.rows(one, "heldout")}
        for name in (suite.suite for suite in self.config.suites if suite.suite):
            held |= {row.conversation.prompt_id: f"suite {name}" for row in chosen.read((name,)).rows}
        return held

    def _train(self, mixed: Mapping[str, Any], wants: bool) -> str:
        """Train on the rows, if feedback gave any, then on the pairs, if there are any; return the last model."""
        model, name = self.config.base, self.config.name
        pairs = bool(mixed["pairs"]) and wants
        if mixed["fresh"]:
            model = self._trained("sft", model, mixed["dataset"], f"{name}-sft" if pairs else name)
        if pairs:
            model = self._trained("dpo", model, mixed["dataset"], name)
        return model

    def _trained(self, objective: Literal["sft", "dpo"], base: str, data: str, name: str) -> str:
        wanted = plan.training(self.config, objective, base, data, name)
        result = self.steps.away(objective, wanted, lambda: start_training(self.job.workspace, wanted))
        return str(result["model"])

    def _judge(self, candidate: str) -> Judgement:
        """Put every suite's rows to the live model and to the candidate, and judge the pairs of answers."""
        found = []
        for suite in self.config.suites:
            before = self._measure(f"before/{suite.name}", self.live, suite)
            after = self._measure(f"after/{suite.name}", candidate, suite)
            found.append(gate.of_jobs(suite, (before, after), self.config.gate))
        judged = judge(found, self.config.gate)
        now = aliases.target(self.job.workspace, self.config.alias)
        if now == self.live:
            return judged
        reason = f"{self.config.alias!r} names {now} by now, and the candidate was compared with {self.live}."
        others = judged.reasons if judged.verdict != "promote" else ()
        verdict = "hold" if judged.verdict == "promote" else judged.verdict
        return judged.model_copy(update={"verdict": verdict, "reasons": (reason, *others)})

    def _measure(self, step: str, model: str, suite: gate.SuiteConfig) -> Job:
        wanted = evaluation_settings(self.job.workspace, plan.evaluation(self.config, suite, model))
        self.steps.away(step, wanted, lambda: start_evaluation(self.job.workspace, wanted))
        return Job(self.job.workspace.jobs / self.steps.ledger.of(step)["job"])

    def _publish(
        self,
        judged: Judgement,
        derived: Mapping[str, Any],
        mixed: Mapping[str, Any] | None = None,
        candidate: str | None = None,
    ) -> Artifact:
        """Write the round: one manifest, held or promoted."""
        workspace, config, ledger = self.job.workspace, self.config, self.steps.ledger
        counts = {key: mixed[key] for key in ("leaks", "replayed")} if mixed else {}
        found = RoundOutcome(
            name=config.name,
            verdict="promoted" if judged.verdict == "promote" else "held",
            gate=judged.verdict if judged.suites else None,
            reasons=judged.reasons,
            alias=config.alias,
            before=self.live,
            base=config.base,
            candidate=candidate,
            feedback={**derived["feedback"], **counts},
            left_out=derived["left_out"],
            dataset=mixed["dataset"] if mixed else None,
            suites=judged.suites,
            jobs={"round": self.job.id, **ledger.all("job")},
            seconds=ledger.all("seconds"),
        )
        data = [derived["dataset"], found.dataset, *(suite.data for suite in config.suites)]
        refs: list[tuple[Kind, str | None]] = [("models", self.live), ("models", candidate)]
        refs += [("datasets", ref) for ref in data]
        parents = {f"{kind}/{ref}": _hash(self.job, kind, ref) for kind, ref in refs if ref}
        with artifacts.draft(workspace, "rounds", config.name) as scratch:
            text = found.model_dump_json(indent=2, exclude={"ref", "created"})
            (scratch / outcome.FILE).write_text(text, encoding="utf-8")
            return artifacts.publish(
                scratch,
                "rounds",
                parents=parents,
                config=config.model_dump(mode="json"),
                facts={"job": self.job.id, "verdict": found.verdict, "before": self.live, "candidate": candidate},
            )


def _held(reason: str) -> Judgement:
    """Nothing was trained, so there was nothing to judge."""
    return Judgement(verdict="hold", reasons=(reason,), suites=())


def _live(job: Job, config: RoundConfig) -> str:
    live = aliases.target(job.workspace, config.alias)
    if live is None:
        raise StoreError(f"no model is {config.alias!r} any more", f"honed promote MODEL --alias {config.alias}")
    return live


def _made(job: Job) -> Artifact | None:
    """Return the round that an earlier attempt of this job published before it was cut off."""
    found = (one for one in artifacts.listing(job.workspace, "rounds") if one.manifest.facts.get("job") == job.id)
    return next(found, None)


def _promote(job: Job, found: RoundOutcome) -> None:
    """Move the alias if the round says so and no earlier attempt did."""
    if found.verdict == "held" or found.candidate is None:
        return
    if all(move.round != found.ref for move in aliases.history(job.workspace, found.alias)):
        why = f"round {found.ref}: {' '.join(found.reasons)}"
        aliases.move(job.workspace, found.alias, found.candidate, why=why, round_=found.ref, left=found.before)


def _source(dataset: Artifact) -> Source:
    return Source(
        dataset.ref, datasets.rows(dataset, "train"), datasets.preferences(dataset), datasets.ratings(dataset)
    )


def _placed(rows: Iterable[Conversation], heldout: Iterable[Conversation]) -> Iterator[tuple[Conversation, Split]]:
    for row in rows:
        yield row, "train"
    for row in heldout:
        yield row, "heldout"


def _hash(job: Job, kind: Kind, ref: str) -> str:
    return artifacts.resolve(job.workspace, kind, ref).manifest.hash


def _said(counts: Mapping[str, int]) -> str:
    made = f"{counts['rows']} rows, {counts['preferences']} pairs and {counts['ratings']} ratings"
    return f"{made} from {counts['events']} feedback events; {counts['left_out']} events are left out"


def _nothing(derived: Mapping[str, Any]) -> str:
    """Say why feedback gave no record at all."""
    count = derived["feedback"]["events"]
    if not count:
        return "There is no feedback yet, so there was nothing to train on."
    why = "; ".join(f"{number} because {reason}" for reason, number in derived["left_out"].items())
    return f"Nothing was derived from {count} feedback {'event' if count == 1 else 'events'}: {why}."


def _untrainable(derived: Mapping[str, Any], mixed: Mapping[str, Any]) -> str:
    """Say why nothing was trained on what feedback gave."""
    if mixed["leaks"]:
        return f"Nothing is left to train on: {mixed['leaks']} records from feedback have prompts that are held out."
    if mixed["pairs"]:
        return f"Feedback gave {mixed['pairs']} pairs and no row, and dpo.enabled is false: nothing to train on."
    count = derived["feedback"]["ratings"]
    return f"Feedback gave {count} ratings only; a round trains on rows and pairs, ratings are for objective kto."


if __name__ == "__main__":
    worker.main(work)

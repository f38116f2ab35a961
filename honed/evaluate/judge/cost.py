"""What judging would take, before anybody is asked."""

from __future__ import annotations

from pathlib import Path

from honed.evaluate.judge import answers, labels, pairwise, rubric, score_agreement
from honed.evaluate.judge.asking import Question, schema
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.judges import EndpointJudge, engine
from honed.models.remote import Estimate
from honed.records import Record
from honed.store.workspace import Workspace


class Ahead(Record):
    """How many questions there are, and what the endpoint would take for them at most; None for this machine.

    Replies that have to be asked for again come on top.
    """

    questions: int
    estimate: Estimate | None


def ahead(workspace: Workspace, settings: JudgeConfig) -> Ahead:
    """Return what is to be asked, reading all that is judged. Raises what reading it raises; sends nothing."""
    asked = questions(workspace, settings)
    if settings.endpoint is None:
        return Ahead(questions=len(asked), estimate=None)
    with engine(workspace, settings) as remote:
        judge = EndpointJudge(remote, settings, lambda: False)
        requests = judge.requests([one.messages for one in asked], schema(settings.criteria))
        return Ahead(questions=len(asked), estimate=remote.estimate(requests))


def questions(workspace: Workspace, settings: JudgeConfig) -> list[Question]:
    """Return all that the judge is asked the first time."""
    rows, seed, criteria, guide = settings.rows, settings.seed, settings.criteria, settings.guide
    if settings.labels is not None and criteria:
        scores = score_agreement.chosen(Path(settings.labels), list(criteria), rows, seed)
        return rubric.all_questions([{id_: one for id_, (one, _) in scores.items()}], criteria, guide)
    if settings.labels is not None:
        labelled, _ = labels.chosen(Path(settings.labels), rows, seed)
        return pairwise.questions([one.pair for one in labelled], guide)
    if criteria:
        picked = answers.picked(workspace, settings)
        return rubric.all_questions([chosen for _, chosen in picked], criteria, guide)
    return pairwise.questions(answers.compared(workspace, settings).pairs, guide)

"""A recipe on Ray gives what it gives here: the same rows, in the same order, for the same reasons."""

from __future__ import annotations

import random
from typing import Any

import pytest

from honed.config import build
from honed.data.curate import on_ray
from honed.data.curate.pieces import of_rows
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.view import View
from honed.data.curate.worker import Curation, _spread
from honed.errors import ConfigError
from honed.store import columns, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from tests.data.curated import queued, said

NOUNS = "moon bread chess tides opera glass bees trams river copper lantern meadow signal harbor velvet"
WORDS = NOUNS.split()


def many(workspace: Workspace, groups: int, name: str = "set") -> Artifact:
    """A dataset of several row groups, with duplicates, near duplicates and personal data across them."""
    draw = random.Random(3)
    rows = [said(" ".join(draw.choices(WORDS, k=12)), " ".join(draw.choices(WORDS, k=30))) for _ in range(groups * 6)]
    rows[::5] = [
        said(row.messages[0].content, f"{row.answer} shit, write to a{at}@b.org") for at, row in enumerate(rows[::5])
    ]
    rows += [said(row.messages[0].content.upper(), f"{row.answer} ") for row in rows[:4]]
    rows += [said(row.messages[0].content, f"{row.answer} moon") for row in rows[4:8]]
    with datasets.drafting(workspace, name) as draft:
        for start in range(0, len(rows), 6):
            some = rows[start : start + 6]
            splits = ["heldout" if at % 6 == 5 else "train" for at in range(start, start + len(some))]
            draft.add("rows", columns.table("rows", some, splits))
        return draft.publish(config={}, facts={"dropped": {}})


def done(workspace: Workspace, on: str | None, name: str) -> tuple[list[Any], list[Any], list[bytes]]:
    job = queued(workspace, name=name, decontaminate={"against": ["datasets"]})
    settings = build(CurateConfig, {"dataset": "set", "name": name, "on": on}, "test")
    with _spread(settings) as spread, datasets.drafting(workspace, name) as draft:
        curation = Curation(job, settings, lambda: False, spread)
        facts = curation.run(draft)
        artifact = draft.publish(config={}, facts=facts)
    lists = [(job.path / file).read_bytes() for file in ("findings.jsonl", "dropped.jsonl")]
    return list(datasets.rows(artifact, "train")), facts["curation"], lists


def sizes(rows: Any) -> tuple[int, list[int]]:
    numbers = [row.number for row in rows]
    return len(numbers), numbers


def test_pieces_are_the_rows_in_their_order_without_those_that_are_out(workspace: Workspace) -> None:
    view = View(many(workspace, 3))
    numbers = [row.number for row in view.rows()]
    assert numbers == list(range(view.size))
    view.drop(1, "kind", "why")
    view.changed[2] = (*view.take([2])[2].turns[:-1], view.take([3])[3].turns[-1])
    rows = list(view.rows())
    assert [row.number for row in rows] == [0, *numbers[2:]]
    assert rows[1].answer == rows[2].answer
    told = list(view.mapped(of_rows(sizes)))
    assert [number for _, some in told for number in some] == [0, *numbers[2:]]
    assert len(told) == 5
    assert view.take([7, 1])[1].id == view.take([1])[1].id  # a row that is out can still be looked at
    assert [row.number for row in view.heldout()] == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore")  # Ray's own, of its own settings
def test_curation_on_two_ray_workers_is_that_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray isn't installed")
    pytest.importorskip("ray.data", reason="the extra ray isn't installed")
    started = ray.init
    monkeypatch.setattr(ray, "init", lambda **given: started(**given | {"num_cpus": 2}))
    many(workspace, 4)
    assert done(workspace, "ray", "there") == done(workspace, None, "here")


def test_ray_that_is_not_installed_is_said_plainly() -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="Ray isn't installed here"), on_ray.spreading("ray"):
            pass
    else:
        pytest.skip("Ray is installed here")

"""Traps 21 and 22: the base's likelihoods are those of each row alone, kept under a key of all that decides them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from honed.errors import HonedError
from honed.jobs.events import Note, Step
from honed.jobs.job import Job, create
from honed.models.chat import Encoded
from honed.store import workspace
from honed.train import answers, attention, reference
from honed.train.config import TrainConfig
from honed.train.head import MATRIX, MODEL, Head
from honed.train.pairs import Pair
from honed.train.placement import Replicated
from honed.train.ratings import Rated
from honed.train.reference import Reference
from tests.numerics.compared import answered, rated
from tests.numerics.rows import packed_model, reference_loss, uneven

MADE = Reference("base", "fp32", "cpu", packed=True, shared=True, head=MATRIX, pack_tokens=100)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return create(workspace.init(tmp_path), "train", TrainConfig(base="b", data="d"))


def attach(job: Job, model: PreTrainedModel, some: list[Pair] | list[Rated], how: Reference = MADE) -> list[float]:
    names = [f"example {at}" for at in range(len(some))]
    found = how.attach(Replicated(model), some, names, job, lambda: False)  # type: ignore[type-var]
    return [value for one in found for value in one.reference]


def computed(job: Job) -> int:
    """How often numbers have been computed so far; each time ends in one event that says so."""
    return sum(isinstance(e, Step) and e.stage == "reference" and e.step == e.total for e in job.events())


def read(job: Job) -> int:
    return sum(isinstance(e, Note) and "are read from" in e.text for e in job.events())


@pytest.mark.parametrize(
    "how", [MADE, replace(MADE, packed=False), replace(MADE, shared=False), replace(MADE, head=MODEL)]
)
@pytest.mark.parametrize("some", [answered(5), rated(5)], ids=["pairs", "rated"])
def test_references_are_the_likelihoods_of_each_row_alone(
    job: Job, some: list[Pair] | list[Rated], how: Reference
) -> None:
    model = packed_model()
    with torch.no_grad():
        expected = [-float(reference_loss(model, row)) for one in some for row in one.referred]
    assert attach(job, model, some, how) == pytest.approx(expected, rel=1e-5)


def test_a_second_run_on_the_data_computes_nothing_and_gets_the_same_numbers(job: Job) -> None:
    model, some = packed_model(), answered(6)
    first = attach(job, model, some)
    assert (computed(job), read(job)) == (1, 0)
    assert attach(job, model, some) == first
    assert (computed(job), read(job)) == (1, 1)
    (path,) = (job.workspace.cache / "references").iterdir()
    path.write_bytes(path.read_bytes()[:-5])  # a damaged file is made anew, never half believed
    assert attach(job, model, some) == first
    assert computed(job) == 2


def test_an_example_for_which_the_base_gives_no_number_is_named_and_nothing_is_kept(job: Job) -> None:
    model, some = packed_model(), answered(6)
    odd = max(some[4].rejected.ids)
    with torch.no_grad():
        model.get_input_embeddings().weight[odd] = torch.nan
    bad = [at for at, one in enumerate(some) if any(odd in row.ids for row in one.referred)]
    with pytest.raises(HonedError, match=f"not a number for {len(bad)} of 6 examples: .*example 4"):
        attach(job, model, some)
    assert not (job.workspace.cache / "references").exists()


def test_rows_that_are_not_packed_have_passes_of_their_own_so_that_ranks_with_shares_keep_step(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, some, sizes = packed_model(), answered(5), []
    collate = answers.collate

    def seen(rows: Any, *rest: Any, **how: Any) -> Any:
        sizes.append(sum(map(len, rows)))
        return collate(rows, *rest, **how)

    monkeypatch.setattr(answers, "collate", seen)
    how = replace(MADE, packed=False)
    how.attach(Replicated(model), some, ["x"] * 5, job, lambda: False, packs=[[0], [1, 2]])
    assert sizes == [1] * 10


def test_the_key_covers_everything_that_the_numbers_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = packed_model(), uneven(4)
    changed = [
        {"base": "other"}, {"precision": "bf16"}, {"device": "mps"}, {"packed": False},
        {"head": Head(factor=2.0)}, {"kernels": {"elementwise": "native"}},
    ]  # fmt: skip
    others = [
        rows[:3],
        [*rows[1:], rows[0]],
        [Encoded((*rows[0].ids[:-1], 3), rows[0].weights), *rows[1:]],
        [Encoded(rows[0].ids, tuple(2 * weight for weight in rows[0].weights)), *rows[1:]],
    ]
    rotary = packed_model()
    rotary.config.rope_theta = 1.0
    parts = packed_model()
    parts.set_attn_implementation(attention.PARTS)
    keys = [
        MADE.key(model, rows),
        *(replace(MADE, **change).key(model, rows) for change in changed),  # type: ignore[arg-type]
        *(MADE.key(model, other) for other in others),
        MADE.key(packed_model().to(torch.bfloat16), rows),
        MADE.key(rotary, rows),
        MADE.key(parts, rows),
    ]
    passes = [[0, 1], [2, 3]]
    keys += [MADE.key(model, rows, some) for some in (passes, [[0], [1, 2, 3]])]
    in_passes = ({"pack_tokens": 200}, {"shared": False})
    keys += [replace(MADE, **change).key(model, rows, passes) for change in in_passes]  # type: ignore[arg-type]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 100)
    keys.append(MADE.key(model, rows, passes))
    for change in in_passes:  # a number belongs to its row where its last bits are nothing
        assert replace(MADE, **change).key(model, rows) == keys[0]  # type: ignore[arg-type]
    moved = packed_model()
    moved.config._name_or_path = "elsewhere"
    assert MADE.key(moved, uneven(4)) == keys[0]
    monkeypatch.setattr(reference, "_machine", lambda _device: "other")
    keys.append(MADE.key(model, rows))
    monkeypatch.setattr(reference, "_code", lambda: "other")
    keys.append(MADE.key(model, rows))
    monkeypatch.setattr(torch, "__version__", "other")
    keys.append(MADE.key(model, rows))
    assert len(set(keys)) == len(keys)

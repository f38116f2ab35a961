"""The numbers of a plan beside what they stand for: bytes held, passes computed, advice followed."""

from __future__ import annotations

import gc
import math
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from honed.jobs import job as jobs
from honed.models import devices
from honed.models import load as models
from honed.records import Conversation, Message
from honed.store import datasets
from honed.store.workspace import Workspace
from honed.train import activations, cost, expected, footprint, planner, ranks, timing
from honed.train.config import TrainConfig
from honed.train.cost import Memory
from honed.train.optim import Optimizer, local
from honed.train.placement import Replicated
from honed.train.prepare import Prepared, prepare
from honed.train.ranks import ALONE, Ranks
from honed.train.rows import Rows
from honed.train.setup import Setup, set_up
from tests.tiny import tiny_folder
from tests.train.jobs import settings

Made = tuple[Prepared, Setup]

CHECKPOINTS = "activation_checkpointing"
ADAPTERS: dict[str, Any] = {"weights": "lora", "lora": {"rank": 2}}


def _made(home: Workspace, here: Ranks = ALONE, **how: Any) -> Made:
    run = prepare(jobs.create(home, "plan", settings(home, **how)), here)
    return run, set_up(run, here, lambda: False, to_train=False)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"precision": "bf16"},
        {"weights": "lora"},
        {"weights": "lora", "precision": "bf16"},
        {"average": True},
        {"weights": "lora", "precision": "bf16", "average": True},
        {"shard": "fsdp"},
    ],
)
def test_gradients_and_what_the_optimizer_keeps_take_the_bytes_that_are_planned(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    with ranks.joined("cpu", group="shard" in how) as here:
        run, ready = _made(home, here, **{"average": False, **how})
        held = _held(run, ready, monkeypatch)
    config = run.config
    planned = footprint.kept(ready.trainable, config, config.weights, "cpu", config.precision)
    assert list(planned) == pytest.approx(held, rel=0.02)
    least = footprint.held(models.outline(config.base, None), config, config.weights, "cpu", config.precision)
    assert (least.gradients, least.optimizer) == planned


def _held(run: Prepared, ready: Setup, patch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of gradients and of what the optimizer keeps, after the second pass of a step."""
    named = [(name, p) for name, p in run.base.model.named_parameters() if p.requires_grad]
    optimizer = Optimizer(named, weight_decay=0.0, average=run.settings.average)
    weights = {local(p).data_ptr() for _, p in named}
    kept = sum(one.nbytes for one in optimizer.state().values() if one.data_ptr() not in weights)
    gradients: list[int] = []
    accumulate = optimizer.accumulate

    def counted() -> None:
        both = [local(p.grad) for p in (*optimizer.parameters, *optimizer.masters) if p.grad is not None]
        gradients.append(sum({one.data_ptr(): one.nbytes for one in both}.values()))
        accumulate()

    patch.setattr(optimizer, "accumulate", counted)
    (batch,) = expected.expect(run, ready).spread(1)
    for _ in range(2):  # in the second pass of a step, those of the first are there
        timing.learn(run, ready, optimizer, batch)
    return [gradients[-1], kept]


@pytest.mark.parametrize("how", [{}, {CHECKPOINTS: True}, ADAPTERS])
def test_nothing_of_the_pass_whose_activations_are_counted_stays_in_memory(
    home: Workspace, how: dict[str, Any]
) -> None:
    run, ready = _made(home, **how)
    (batch,) = expected.expect(run, ready).spread(1)
    activations.saved(run, ready, batch)  # what the first one makes for good is there
    gc.freeze()  # a process of many tests holds millions of objects: only new ones are looked at
    try:
        assert activations.saved(run, ready, batch) > 0
        gc.collect()
        kinds = Counter(map(type, gc.get_objects()))
    finally:
        gc.unfreeze()
    assert not [kind for kind in kinds if issubclass(kind, torch.Tensor)]


def test_layers_that_are_computed_again_are_planned_with_one_of_them_beside_what_goes_into_all(
    home: Workspace, tmp_path: Path
) -> None:
    def saved(layers: int, *, again: bool) -> float:
        base = tiny_folder(tmp_path / f"{layers}-{again}", layers=layers)
        run, ready = _made(home, base=str(base), **{CHECKPOINTS: again})
        return activations.saved(run, ready, expected.expect(run, ready).spread(1)[0])

    assert saved(1, again=True) == saved(1, again=False)  # the one layer is all there is to compute again
    assert saved(1, again=True) < saved(4, again=True) < saved(4, again=False) / 2


def test_shares_that_are_offloaded_are_planned_in_the_blocks_that_torch_pins_them_in() -> None:
    model = torch.nn.Linear(100, 50)
    config = TrainConfig(base="", data="", shard="fsdp", cpu_offload=True, ranks=2)
    settled = SimpleNamespace(device="cuda", average=False)
    run: Any = SimpleNamespace(config=config, settings=settled, base=SimpleNamespace(model=model))
    ready: Any = SimpleNamespace(trainable=5050)
    found = planner._beside(run, ready, SimpleNamespace(windows=7))  # type: ignore[arg-type]
    assert found == Memory(offloaded=2 * (16384 + 128) + 8 * 5050 // 2, windows=7)  # weights and gradients are pinned
    model.bias.requires_grad_(False)
    assert planner._beside(run, ready, SimpleNamespace(windows=7)).offloaded == found.offloaded - 128  # type: ignore[arg-type]


EACH, TOKEN, UPDATE, HELDOUT, WRITTEN = 700.0, 3.0, 50.0, 400.0, 64.0
"""Seconds of a pass, of each of its tokens, of a step, of a held-out loss and of 64 MB, by the patched clock."""


def _clock(action: Callable[[], object], _device: str) -> float:
    action()
    if not isinstance(action, partial):
        return WRITTEN if action.__name__ == "write" else HELDOUT
    return EACH + TOKEN * action.args[3].tokens if action.func is timing.learn else UPDATE


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("data", "objective", "epochs"), [("numbers", "sft", 2), ("liked", "dpo", 1), ("liked", "dpo", 0.5)]
)
def test_the_time_of_a_plan_is_that_of_the_runs_own_passes_steps_losses_and_files(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, data: str, objective: str, epochs: float, ranks: int
) -> None:
    monkeypatch.setattr(devices, "clocked", _clock)
    shutil.rmtree(home.cache / "references", ignore_errors=True)  # what other tests left would take no time
    how = {"data": data, "objective": objective, "epochs": epochs, "ranks": ranks, "batch_tokens": 300}
    planned = planner.work(jobs.create(home, "plan", settings(home, **how, eval_every=2)), lambda: False)
    run, ready = _made(home, **how)
    steps = [
        [ready.objective.collate([step.examples[index] for index in one]).tokens for one in step.rows.packs]
        for step in ready.steps.after(0, {})
    ]
    dealt = [Replicated(run.base.model, Ranks(number, ranks)) for number in range(ranks)]
    seconds = sum(
        max(sum(EACH + TOKEN * step[turn.index] for turn in rank.turns(step)) for rank in dealt) + UPDATE
        for step in steps
    )
    time, count = planned["time"], len(steps)
    assert time["steps"] == pytest.approx(seconds, abs=0.1)
    assert time["heldout"] == pytest.approx(HELDOUT * (1 + math.ceil(count / 2)) / ranks, abs=0.1)
    size = sum(p.numel() for p in run.base.model.parameters())
    mb = (4 * size + count // 7 * 12 * size) / 2**20  # the model, and every seventh step weights and moments
    assert time["saving"] == pytest.approx(WRITTEN / 64 * mb, abs=0.1)
    assert isinstance(run.train, Rows)
    if objective == "dpo":  # once for all pairs, whatever part of them is trained on
        whole = [one for step in ready.layout.plan(run.train.encoded, 1, 0) for one in step.packs]
        passes = [ready.objective.collate([run.train.encoded[index] for index in one]).tokens for one in whole]
        alone = sum(EACH + TOKEN * one for one in passes) / 3  # forward only
        assert time["reference"] == pytest.approx(alone / ranks, rel=0.0001 if ranks == 1 else 0.1)
    else:
        assert time["reference"] == 0
    assert time["total"] == pytest.approx(sum(value for name, value in time.items() if name != "total"), abs=0.5)


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        (20, {}),
        (21, {"precision": "bf16", "weights": "lora"}),
        (22, {"shard": "fsdp"}),
        (23, {"data": "rated", "objective": "kto"}),
    ],
)
def test_likelihoods_of_the_base_that_a_run_left_take_no_time_in_the_next_plan_which_says_so(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, rows: int, how: dict[str, Any]
) -> None:
    given = {"data": "liked", "objective": "dpo", "epochs": 1, "rows": rows, **how}  # other rows, other likelihoods

    def planned() -> tuple[float, bool]:
        plan = planner.work(jobs.create(home, "plan", settings(home, **given)), lambda: False)
        said = any("likelihoods of these answers are kept" in reason for reason in plan["reasons"])
        return plan["time"]["reference"], said

    monkeypatch.setattr(devices, "clocked", _clock)
    seconds, said = planned()
    assert seconds > EACH / 3 and not said
    with ranks.joined("cpu", group="shard" in how) as here:
        set_up(prepare(jobs.create(home, "train", settings(home, **given)), here), here, lambda: False)
    assert planned() == (0, True)


def test_ranks_that_share_the_weights_each_update_a_share(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def update_alone(action: Callable[[], object], device: str) -> float:
        action()
        return UPDATE if isinstance(action, partial) and action.func is not timing.learn else 0.0

    monkeypatch.setattr(devices, "clocked", update_alone)
    for shard, each in (("none", UPDATE), ("fsdp", UPDATE / 2)):
        planned = planner.work(jobs.create(home, "plan", settings(home, ranks=2, shard=shard)), lambda: False)
        assert planned["time"]["steps"] == pytest.approx(planned["steps"] * each)


def _parts(memory: Memory, way: str) -> int:
    """The bytes of the parts that a way is about. A pass keeps more beside adapters; that isn't foreseen."""
    held = memory.weights + memory.gradients + memory.optimizer
    return held if "--weights" in way else held + memory.activations + memory.gathered


def _changed(way: str) -> dict[str, Any]:
    """The settings that a way names."""
    words = shlex.split(way.partition(": ")[2])
    pairs = zip(words[::2], words[1::2], strict=True)
    given = [word.partition("=")[::2] if flag == "--set" else (flag[2:], word) for flag, word in pairs]
    return {name: int(value) if value.isdigit() else value for name, value in given}


@pytest.fixture(scope="module")
def wide(home: Workspace) -> Path:
    """A model of 8 layers and 2.7 M weights, of which adapters of rank 2 are few; and a dataset with one long row."""
    ask, say = Message(role="user", content="?"), partial(Message, role="assistant")
    rows = [Conversation(messages=(ask, say(content=f"{n} is short"))) for n in range(12)]
    long = Conversation(messages=(ask, say(content="x" * 400)))
    datasets.write(home, "one-long", [(row, "train") for row in (*rows, long)], config={}, facts={})
    return tiny_folder(home.path.parent / "wide", hidden=192, layers=8)


@pytest.mark.parametrize(
    ("how", "ways"),
    [
        ({"weights": "full"}, {"weights lora", "weights qlora", "precision", "pack_tokens", CHECKPOINTS}),
        ({}, {"precision", "weights qlora", "pack_tokens", CHECKPOINTS}),
        ({"ranks": 2, CHECKPOINTS: True}, {"precision", "shard", "weights qlora", "pack_tokens"}),
        ({"shard": "fsdp", CHECKPOINTS: True, "weights": "full"}, {"precision", "weights lora", "pack_tokens"}),
        ({"data": "one-long", "pack_tokens": 200}, {"precision", "max_length", "weights qlora", CHECKPOINTS}),
    ],
)
def test_what_a_plan_advises_saves_about_what_is_said(
    home: Workspace, wide: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], ways: set[str]
) -> None:
    told: list[tuple[Memory, int, dict[str, object], int]] = []

    def advice(memory: Memory, free: int, settings: dict[str, object], hidden: int = 0) -> list[str]:
        told.append((memory, free, settings, hidden))
        return []

    def planned(**more: Any) -> tuple[Memory, int, dict[str, object], int]:
        given = {"base": str(wide), "batch_tokens": 1200, "pack_tokens": 600, "epochs": 1, **ADAPTERS, **how, **more}
        if given["weights"] == "full":
            del given["lora"]
        told.clear()
        planner.work(jobs.create(home, "plan", settings(home, **given)), lambda: False)
        return told[0]

    monkeypatch.setattr(cost, "advice", advice)
    monkeypatch.setattr(planner, "_free", lambda _device, _config: 1)
    memory, free, asked, hidden = planned()
    found = cost.ways(memory, memory.total - free, asked, hidden)
    named = {
        name if name != "weights" else f"weights {value}" for _, way in found for name, value in _changed(way).items()
    }
    assert named == ways
    for saved, way in found:
        if "qlora" in way and find_spec("bitsandbytes") is None:
            continue
        then = planned(**_changed(way))[0]
        fell = _parts(memory, way) - _parts(then, way)
        assert saved == pytest.approx(fell, rel=0.2), way


@pytest.mark.parametrize(
    ("how", "apart"),
    [({}, False), ({"weights": "lora"}, False), ({"objective": "orpo", "data": "liked"}, True)],
)
def test_the_planned_logits_are_a_passs_up_to_a_chunk_and_a_heads_gradient_where_it_is_summed_apart(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], apart: bool
) -> None:
    run, ready = _made(home, **how)
    passes = expected.expect(run, ready)
    head = 4 * 259 * 32 * apart
    for chunk in (planner.loss_sweeps.CHUNK_BYTES, 5000):
        monkeypatch.setattr(planner.loss_sweeps, "CHUNK_BYTES", chunk)
        memory, _ = planner._memory(run, ready, passes, 0)
        assert memory.logits == min(4 * 259 * passes.spread(2)[0].tokens, chunk) + head
        assert memory.holes == pytest.approx((planner.heap.GROWN - 1) * (memory.total - memory.holes), abs=2)

"""Trap 15: a stream's order is a pure function of its seed, each row comes once an epoch, a resume goes on exactly."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.errors import DataError
from honed.models.chat import Encoded
from honed.records import Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.datasets import Shard
from honed.store.workspace import Workspace, init
from honed.train import batches
from honed.train.batches import StepRows
from honed.train.optim import learning_rate
from honed.train.rows import Rows
from honed.train.steps import Planned
from honed.train.stream import Streamed

BATCH, PACK = 400, 150


def plan(examples: Sequence[Encoded], epochs: float, seed: int) -> list[StepRows]:
    lengths = [len(one.ids) for one in examples]
    return batches.plan(lengths, epochs=epochs, batch_tokens=BATCH, pack_tokens=PACK, packing=True, seed=seed)


def rows(wanted: Sequence[Shard]) -> Rows[Encoded]:
    """A row for each place in the file: of 1 to 40 tokens, its name its place; each eleventh can't be used."""
    names = [f"{shard.group}.{shard.start + place}" for shard in wanted for place in range(shard.count)]
    lengths = [1 + 7 * sum(map(ord, name)) % 40 for name in names]
    bad = [name for name in names if int(name.partition(".")[2]) % 11 == 10]
    kept = [(name, length) for name, length in zip(names, lengths, strict=True) if name not in bad]
    return Rows(
        encoded=tuple(Encoded((7,) * length, (0.0,) + (1.0,) * (length - 1)) for _, length in kept),
        names=tuple(name for name, _ in kept),
        left_out=tuple({"row": name, "kind": "too long", "message": ""} for name in bad),
    )


def stream(groups: Sequence[int], listing: Path, *, size: int = 16, **changes: object) -> Streamed[Encoded]:
    """A stream over row groups of so many rows, in shards of ``size``."""
    shards = [
        Shard(number, start, min(size, count - start))
        for number, count in enumerate(groups)
        for start in range(0, count, size)
    ]
    made = Streamed(shards, rows, plan, epochs=2.0, seed=0, window_rows=100, listing=listing)
    return replace(made, **changes)


def ids(
    steps: Iterator[Planned[Encoded]] | Sequence[Planned[Encoded]],
) -> list[tuple[int, tuple[tuple[str, ...], ...]]]:
    """Of every step its epoch, and the names of the rows in each of its passes."""
    return [
        (step.rows.epoch, tuple(tuple(step.names[index] for index in pack) for pack in step.rows.packs))
        for step in steps
    ]


def names(steps: Sequence[Planned[Encoded]], epoch: int) -> list[str]:
    return [name for step in steps if step.rows.epoch == epoch for name in step.row_names]


@given(
    groups=st.lists(st.integers(1, 120), min_size=1, max_size=6),
    size=st.integers(1, 50),
    window=st.integers(1, 400),
    epochs=st.sampled_from([1.0, 2.0, 3.0]),
    seed=st.integers(0, 3),
)
@settings(max_examples=30, deadline=None)
def test_every_usable_row_comes_once_an_epoch_whatever_windows_and_row_groups(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], size: int, window: int, epochs: float, seed: int
) -> None:
    listing = tmp_path_factory.getbasetemp() / "listing.jsonl"
    made = stream(groups, listing, size=size, window_rows=window, epochs=epochs, seed=seed)
    steps = list(made.after(0, {}))
    every = rows(made.shards)
    for epoch in range(int(epochs)):
        assert sorted(names(steps, epoch)) == sorted(every.names)
    assert sorted(json.loads(line)["row"] for line in listing.read_text().splitlines()) == sorted(
        one["row"] for one in every.left_out
    )
    assert made.seen() == {
        "rows": len(every.names),
        "left_out": len(every.left_out),
        "dataset_tokens": int(epochs) * sum(every.lengths),
        "supervised_tokens": int(epochs) * sum(row.supervised for row in every.encoded),
    }
    for step in steps:
        for pack in step.rows.packs:
            assert len(pack) == 1 or sum(len(step.examples[index].ids) for index in pack) <= PACK


@given(
    groups=st.lists(st.integers(1, 120), min_size=1, max_size=5),
    window=st.integers(20, 300),
    epochs=st.sampled_from([0.5, 1.0, 1.7, 2.0]),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_a_stream_goes_on_from_any_step_as_if_it_had_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], window: int, epochs: float, data: st.DataObject
) -> None:
    listing = tmp_path_factory.getbasetemp() / "resumed.jsonl"
    made = stream(groups, listing, window_rows=window, epochs=epochs)
    straight = list(made.after(0, {}))
    listed = listing.read_bytes()
    cut = data.draw(st.integers(1, len(straight)))
    position = json.loads(json.dumps(straight[cut - 1].position))  # through a checkpoint
    list(itertools.islice(made.after(0, {}), min(cut + 3, len(straight))))  # the killed attempt went some steps further
    resumed = list(made.after(cut, position))
    assert ids(resumed) == ids(straight[cut:])
    assert [replace(step, examples=(), names=()) for step in resumed] == [
        replace(step, examples=(), names=()) for step in straight[cut:]
    ]
    assert listing.read_bytes() == listed


def test_rows_of_windows_without_a_usable_one_are_counted_after_the_last_step_too(tmp_path: Path) -> None:
    first_last = {(order[0], order[-1]): seed for seed in range(99) for order in [_order(11, seed)]}
    made = stream([11], tmp_path / "list", size=1, window_rows=1, epochs=1.0)
    bad_last = replace(made, seed=next(seed for (_, last), seed in first_last.items() if last == 10))
    assert len(list(bad_last.after(0, {}))) == 10
    assert bad_last.seen()["left_out"] == len(made.listing.read_text().splitlines()) == 1
    bad_first = replace(made, seed=next(seed for (first, _), seed in first_last.items() if first == 10), epochs=0.05)
    with pytest.raises(DataError, match=r"none of the rows that 0\.05 epochs read can be used"):
        list(bad_first.after(0, {}))


def _order(shards: int, seed: int) -> list[int]:
    return [int(place) for place in np.random.default_rng([seed, 0]).permutation(shards)]


def test_epochs_and_seeds_differ_in_order_and_in_what_shares_a_window(tmp_path: Path) -> None:
    made = stream([200, 200], tmp_path / "list")
    steps = list(made.after(0, {}))
    assert names(steps, 0) != names(steps, 1)
    assert ids(made.after(0, {})) == ids(steps)
    assert ids(replace(made, seed=1).after(0, {})) != ids(steps)
    first, *_ = made.windows()
    assert {window.shards for window in made.windows(1)} != {window.shards for window in made.windows()}
    assert first.shards == tuple(sorted(first.shards)) and {shard.group for shard in first.shards} == {0, 1}


def test_epochs_of_one_window_differ_in_order_too(tmp_path: Path) -> None:
    made = stream([200], tmp_path / "list", window_rows=1000)
    assert len({(window.epoch, window.number) for window in made.windows()}) == 2
    steps = list(made.after(0, {}))
    assert sorted(names(steps, 0)) == sorted(names(steps, 1)) and names(steps, 0) != names(steps, 1)


def test_windows_are_even_and_a_part_of_an_epoch_is_that_part_of_its_rows(tmp_path: Path) -> None:
    made = stream([4096, 4096, 500], tmp_path / "list", window_rows=1000, epochs=1.5)
    windows = list(made.windows())
    sizes = [sum(shard.count for shard in window.shards) for window in windows if window.epoch == 0]
    assert sum(sizes) == 8692 and max(sizes) - min(sizes) <= 32
    assert windows[-1].end == 1.5 * 8692 and 0 < windows[-1].share <= 1
    steps = list(made.after(0, {}))
    assert len(names(steps, 1)) == pytest.approx(len(names(steps, 0)) / 2, rel=0.03)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_learning_rate_goes_by_rows_and_falls_to_nothing_at_the_last_step(tmp_path: Path, schedule: str) -> None:
    steps = list(stream([900, 900], tmp_path / "list", window_rows=300).after(0, {}))
    options = {"peak": 1.0, "warmup": 0.1, "schedule": schedule}
    rates = [learning_rate(step.passed, step.whole, **options) for step in steps]
    exact = [learning_rate(number, len(steps), **options) for number in range(len(steps))]
    assert rates == pytest.approx(exact, abs=0.04) and min(rates) > 0 and max(rates) == pytest.approx(1, abs=1e-3)
    assert rates[-1] < 2 * exact[-1] < 0.05
    assert steps[-1].total == len(steps)
    assert all(step.total == pytest.approx(len(steps), rel=0.15) for step in steps)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))


def test_an_error_of_the_reading_thread_comes_to_the_loop(tmp_path: Path) -> None:
    def broken(wanted: Sequence[Shard]) -> Rows[Encoded]:
        if wanted[0].group:
            raise OSError("gone")
        return rows(wanted)

    made = stream([100, 100], tmp_path / "list", read=broken, window_rows=30, size=100)
    with pytest.raises(OSError, match="gone"):
        list(made.after(0, {}))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, artifacts.Artifact]:
    """20,000 short rows, one in ten held out."""
    home = init(tmp_path_factory.mktemp("large") / "ws")

    def made() -> Iterator[tuple[Conversation, Split]]:
        for number in range(20_000):
            turns = (Message(role="user", content=f"{number}?"), Message(role="assistant", content=f"{number}!"))
            yield Conversation.model_construct(messages=turns), "heldout" if number % 10 == 0 else "train"

    return home, datasets.write(home, "large", made(), config={}, facts={})


def _peak(dataset: artifacts.Artifact, listing: Path, count: int | None) -> tuple[int, int, int]:
    """Rows that are streamed, the most bytes that Python held for it, and the most that Arrow did."""
    before, arrow = pa.total_allocated_bytes(), [0]

    def read(wanted: Sequence[Shard]) -> Rows[Encoded]:
        here = []
        for row in datasets.read(dataset, "train", wanted):
            arrow[0] = max(arrow[0], pa.total_allocated_bytes() - before)
            here.append(row)
        return Rows(tuple(Encoded((1,) * 20, (0.0,) + (1.0,) * 19) for _ in here), tuple(r.answer for r in here), ())

    tracemalloc.start()
    shards = datasets.shards(dataset, "train", 256, count)
    made = Streamed(shards, read, plan, epochs=1.0, seed=0, window_rows=512, listing=listing)
    seen = sum(len(step.row_names) for step in made.after(0, {}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seen, peak, arrow[0]


def test_memory_does_not_grow_with_the_rows(large: tuple[Workspace, artifacts.Artifact], tmp_path: Path) -> None:
    some, little, by_arrow = _peak(large[1], tmp_path / "list", 3_000)
    every, much, more_by_arrow = _peak(large[1], tmp_path / "list", None)
    assert (some, every) == (3_000, 18_000)
    assert much < 2 * little  # of six times the rows; how far the reading thread is ahead differs
    whole = pq.read_table(large[1].path / "rows.parquet").nbytes
    assert 0 < by_arrow <= more_by_arrow < whole / 3  # a row group, of five


def test_a_file_in_other_row_groups_streams_the_same_rows(large: tuple[Workspace, artifacts.Artifact]) -> None:
    dataset = large[1]
    for split, count in (("train", 18_000), ("heldout", 2_000)):
        shards = datasets.shards(dataset, split, 300)
        assert sum(shard.count for shard in shards) == count
        answers = Counter(row.answer for row in datasets.read(dataset, split, shards[::-1]))
        assert len(answers) == count and set(answers.values()) == {1}

"""The rows themselves: how many, of what, in what order, unique, reproducible, and the two splits apart."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from importlib import resources
from itertools import pairwise

import pytest

from honed.builtin.desk import AUDIENCES
from honed.builtin.generate import TASKS, generate, pack
from honed.builtin.pools import heldout as heldout_pool
from honed.builtin.pools import train as train_pool
from honed.builtin.pools.pool import Fact, Topic
from honed.records import Conversation, Split

BENEFITS = {"precision", "specificity", "context", "misinterpretation"}
NAMED = ("people", "products", "cities", "nicknames")


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_generator_reproduces_the_files_byte_for_byte(split: Split) -> None:
    stored = resources.files("honed.builtin").joinpath("rows", f"{split}.jsonl.gz").read_bytes()
    # The text is compared, since the compressed bytes may differ between versions of zlib.
    assert gzip.decompress(pack(generate(split))) == gzip.decompress(stored)
    assert pack(generate(split)) == pack(generate(split))
    assert stored[4:8] == bytes(4), "the archive holds a time"


def test_another_seed_gives_other_rows() -> None:
    assert generate("heldout", 1) != generate("heldout", 2)


def test_there_are_enough_rows_of_each_family_and_reader(
    train: list[Conversation], heldout: list[Conversation]
) -> None:
    assert len(train) >= 1500
    assert len(heldout) >= 400
    assert min(Counter(row.tags["task"] for row in train).values()) >= 200
    assert min(Counter(row.tags["task"] for row in heldout).values()) >= 50
    for rows in (train, heldout):
        readers = Counter(row.tags["audience"] for row in rows)
        assert set(readers) == set(AUDIENCES)
        assert min(readers.values()) >= 60
        assert {row.tags["benefit"] for row in rows} == BENEFITS


@pytest.mark.parametrize("size", [28, 84, 200, 350, 700])
def test_any_prefix_is_balanced(train: list[Conversation], size: int) -> None:
    tasks = Counter(row.tags["task"] for row in train[:size])
    assert max(tasks.values()) - min(tasks.values()) <= 1
    for task in TASKS:
        readers = Counter(row.tags["audience"] for row in train[:size] if row.tags["task"] == task.name)
        assert set(readers) == set(task.audiences)
        assert max(readers.values()) - min(readers.values()) <= 1


def test_rows_are_well_formed_and_prompts_unique(train: list[Conversation], heldout: list[Conversation]) -> None:
    rows = train + heldout
    assert len({row.prompt_id for row in rows}) == len(rows)
    for row in rows:
        roles = [message.role for message in row.messages]
        assert roles[0] == "system"
        assert roles[1::2] == ["user"] * len(roles[1::2])
        assert roles[2::2] == ["assistant"] * len(roles[2::2])
        assert row.check is not None
        assert row.check.verifier == row.tags["task"]
        for message in row.messages:
            assert message.content == message.content.strip()
            assert not re.search(r"[{}\[\]]|  ", message.content.replace('{"', "").replace("}", "")), message.content


def test_rows_are_short(train: list[Conversation], heldout: list[Conversation]) -> None:
    assert max(len(" ".join(m.content for m in row.messages).split()) for row in train + heldout) <= 130


def _grams(rows: list[Conversation], size: int) -> set[tuple[str, ...]]:
    grams: set[tuple[str, ...]] = set()
    for row in rows:
        for message in row.messages:
            if message.role == "user":
                tokens = re.findall(r"\w+", message.content.lower())
                grams.update(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
    return grams


def test_no_phrasing_of_a_heldout_request_occurs_in_training(
    train: list[Conversation], heldout: list[Conversation]
) -> None:
    # Users' texts share no five words in a row, without any exception: the desk's fixed words (its queues, the forms
    # of its replies) stand in the system prompts, which are the only texts that the splits have in common.
    assert not _grams(train, 5) & _grams(heldout, 5)


def test_both_splits_have_the_same_standing_instructions(
    train: list[Conversation], heldout: list[Conversation]
) -> None:
    standing = {row.messages[0].content for row in train}
    assert standing == {row.messages[0].content for row in heldout}
    assert len(standing) <= len(TASKS) * len(AUDIENCES)


def test_heldout_names_occur_in_no_training_row(train: list[Conversation]) -> None:
    text = "\n".join(message.content for row in train for message in row.messages).casefold()
    for kind in NAMED:
        for name in getattr(heldout_pool.POOL.words, kind):
            assert name.casefold() not in text, name


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Fact):
        yield value.says
    elif isinstance(value, Topic):
        yield from (value.name, value.says, *value.asks, *value.values)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, tuple | range):
        for inner in value:
            yield from _strings(inner if not isinstance(inner, int) else str(inner))


@pytest.mark.parametrize("half", ["words", "wordings"])
def test_the_pools_are_disjoint(half: str) -> None:
    ours, theirs = getattr(train_pool.POOL, half), getattr(heldout_pool.POOL, half)
    for field in fields(ours):
        left, right = set(_strings(getattr(ours, field.name))), set(_strings(getattr(theirs, field.name)))
        # A held-out policy may settle the day of something: the names of the days are dealt to the splits as well.
        assert left, field.name
        assert not left & right, (field.name, left & right)


@pytest.mark.parametrize("pool", [train_pool.POOL, heldout_pool.POOL], ids=["train", "heldout"])
def test_the_words_of_a_pool_are_distinct(pool: object) -> None:
    for field in fields(pool.words):  # type: ignore[attr-defined]
        values = sorted(_strings(getattr(pool.words, field.name)))  # type: ignore[attr-defined]
        assert all(left != right for left, right in pairwise(values)), field.name


@pytest.mark.parametrize("pool", [train_pool.POOL, heldout_pool.POOL], ids=["train", "heldout"])
def test_policies_name_their_topic_and_products_take_the_article_a(pool: object) -> None:
    for topic in pool.wordings.topics:  # type: ignore[attr-defined]
        assert all(topic.name in text.lower() for text in (topic.says, *topic.asks)), topic
    starts = {name[0] for name in (*pool.words.products, *pool.words.colours, *pool.words.sizes)}  # type: ignore[attr-defined]
    assert not starts & set("aeiouAEIOU")

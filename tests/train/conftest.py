"""A workspace with small datasets, and a tiny model beside it."""

from __future__ import annotations

import random

import pytest

from honed.records import Conversation, Message, Preference, Rating, Split
from honed.store import datasets, workspace
from honed.store.workspace import Workspace
from tests.tiny import tiny_folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    path = tmp_path_factory.mktemp("train")
    tiny_folder(path / "tiny")
    made = workspace.init(path / "ws")
    rng = random.Random(0)
    rows: list[tuple[Conversation, Split]] = []
    for number in range(30):
        answer = f"{number} is {'even' if number % 2 == 0 else 'odd'}" * rng.choice([1, 1, 3])
        turns = (Message(role="user", content=f"what is {number}?"), Message(role="assistant", content=answer))
        rows.append((Conversation(messages=turns), "heldout" if number % 5 == 0 else "train"))
    datasets.write(made, "numbers", rows, config={}, facts={})
    long = (Message(role="user", content="x" * 600), Message(role="assistant", content="y"))
    datasets.write(made, "long", [(Conversation(messages=long), "train")], config={}, facts={})
    datasets.write(made, "mixed", [*rows[:5], (Conversation(messages=long), "train")], config={}, facts={})
    ask = lambda text: (Message(role="user", content=text),)  # noqa: E731
    pairs = [
        Preference(prompt=ask(f"what is {n}?"), chosen=f"{n} is good" * rng.choice([1, 2]), rejected=f"{n}: bad")
        for n in range(40)
    ]
    datasets.write(made, "liked", rows[:12], config={}, facts={}, preferences=pairs)
    unusable = [
        Preference(prompt=ask("same"), chosen="yes", rejected="yes"),
        Preference(prompt=ask("long"), chosen="yes", rejected="n" * 600),
    ]
    datasets.write(made, "liked-in-part", [], config={}, facts={}, preferences=[*pairs[:12], *unusable])
    ratings = [
        Rating(prompt=pair.prompt, answer=pair.chosen if good else pair.rejected, good=good)
        for pair, good in zip(pairs[10:], [True, False] * 15, strict=True)
    ]
    datasets.write(made, "rated", rows[:12], config={}, facts={}, preferences=pairs[:10], ratings=ratings)
    datasets.write(made, "rated-only", [], config={}, facts={}, ratings=ratings)
    return made

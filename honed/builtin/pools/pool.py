"""The shape of a pool: every word and wording that a split's rows are made of. Two pools share none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One thing a policy may settle: how the policy says it, how customers ask for it, and the possible values."""

    name: str
    says: str
    asks: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """A verb phrase about a product, and the word in it by which it is recognised in an answer."""

    says: str
    key: str


@dataclass(frozen=True)
class Words:
    """The nouns of a split: people, products, places and the values that customers name."""

    people: tuple[str, ...]
    products: tuple[str, ...]
    cities: tuple[str, ...]
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    days: tuple[str, ...]
    orders: range
    quantities: range
    praise: tuple[str, ...]
    endings: tuple[str, ...]
    nicknames: tuple[str, ...]
    facts: tuple[Fact, ...]
    actions: tuple[Fact, ...]
    times: tuple[Fact, ...]


@dataclass(frozen=True)
class Wordings:
    """The sentences of a split, by family: ``{...}`` is a slot, ``[...]`` what a request may leave out."""

    tickets: Mapping[str, tuple[str, ...]]
    records: tuple[str, ...]
    record_asks: tuple[str, ...]
    briefs: tuple[str, ...]
    constraints: Mapping[str, tuple[str, ...]]
    amendments: Mapping[str, tuple[str, ...]]
    advice: tuple[str, ...]
    requests: Mapping[str, tuple[str, ...]]
    request_asks: tuple[str, ...]
    policy_asks: tuple[str, ...]
    topics: tuple[Topic, ...]


@dataclass(frozen=True)
class Pool:
    """All that a split's rows are made of."""

    words: Words
    wordings: Wordings

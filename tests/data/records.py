"""Records of every kind, for properties that hold for all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from honed.records import Check, Conversation, Message, Preference, Rating, ToolCall

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    str.strip
)
names = st.text(st.sampled_from("abcdef_"), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
tags = st.dictionaries(st.sampled_from(["task", "category", "mine"]), words, max_size=2)
checks = st.none() | st.builds(Check, verifier=names, params=st.dictionaries(names, values, max_size=2))
tools = st.lists(
    st.fixed_dictionaries(
        {"name": names, "description": words, "parameters": st.dictionaries(names, values, max_size=2)}
    ),
    max_size=2,
).map(tuple)


@st.composite
def _turns(draw: st.DrawFn, *, many: bool, weights: bool, with_tools: bool, ids: bool) -> tuple[Message, ...]:
    said: list[Message] = []
    if draw(st.booleans()):
        said.append(Message(role="system", content=draw(words)))
    for _ in range(draw(st.integers(1, 3)) if many else 1):
        weight = draw(st.sampled_from([1.0, 0.0, 0.5])) if weights else 1.0
        said.append(Message(role="user", content=draw(words)))
        if with_tools and draw(st.booleans()):
            said += draw(_called(weight, ids))
        said.append(Message(role="assistant", content=draw(words), weight=weight))
    if with_tools:
        said[0] = said[0].model_copy(update={"tools": draw(tools)})
    return tuple(said)


@st.composite
def _called(draw: st.DrawFn, weight: float, ids: bool) -> list[Message]:
    id_ = st.just("") if not ids else st.sampled_from(["", "call_1", "call_2"])
    calls = tuple(
        ToolCall(name=draw(names), arguments=draw(st.dictionaries(names, values, max_size=2)), id=draw(id_))
        for _ in range(draw(st.integers(1, 2)))
    )
    text = draw(st.just("") | words)
    results = [
        Message(role="tool", content=draw(words | st.just("")), tool_call_id=draw(id_), name=draw(names) if ids else "")
        for _ in calls
    ]
    return [Message(role="assistant", content=text, weight=weight, tool_calls=calls), *results]


def conversations(
    *, many: bool = True, weights: bool = True, with_tools: bool = True, ids: bool = True
) -> st.SearchStrategy[Conversation]:
    """Rows; each flag says whether they may have what only some formats hold."""
    turns: Any = _turns(many=many, weights=weights, with_tools=with_tools, ids=ids)
    return st.builds(Conversation, messages=turns, tags=tags, check=checks)


def _prompts(with_tools: bool, ids: bool = True) -> Any:
    turns: Any = _turns(many=True, weights=False, with_tools=with_tools, ids=ids)
    return turns.map(lambda said: said[:-1])


def preferences(*, with_tools: bool = True, ids: bool = True) -> st.SearchStrategy[Preference]:
    """Pairs whose answers differ."""
    made = st.builds(Preference, prompt=_prompts(with_tools, ids), chosen=words, rejected=words, tags=tags)
    return made.filter(lambda pair: pair.chosen != pair.rejected)


def ratings(*, with_tools: bool = True) -> st.SearchStrategy[Rating]:
    """Answers that were found good or bad."""
    reasons = st.just("") | words
    return st.builds(Rating, prompt=_prompts(with_tools), answer=words, good=st.booleans(), reason=reasons, tags=tags)

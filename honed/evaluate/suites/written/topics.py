"""Topics of short texts, each with three plain sentences about it, and constraints that texts are rendered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Topic(NamedTuple):
    """What is written about, and three true sentences without a comma."""

    name: str
    sentences: tuple[str, str, str]


TOPICS = (
    Topic(
        "bees",
        (
            "Bees visit many flowers in one day.",
            "They carry pollen from plant to plant.",
            "A hive can hold thousands of them.",
        ),
    ),
    Topic(
        "bread",
        ("Bread is made from flour and water.", "Yeast makes the dough rise.", "The oven turns it brown and crisp."),
    ),
    Topic(
        "the moon",
        (
            "The moon moves around the earth.",
            "It shines with light from the sun.",
            "People first walked on it in 1969.",
        ),
    ),
    Topic(
        "bicycles",
        (
            "A bicycle has two wheels and a chain.",
            "The rider turns the pedals with both feet.",
            "It needs no fuel at all.",
        ),
    ),
    Topic(
        "libraries",
        ("A library lends books to people.", "Readers can sit there and study.", "Most libraries ask for quiet."),
    ),
    Topic("rain", ("Rain falls from clouds.", "It fills rivers and lakes.", "Farmers need it for their fields.")),
    Topic("trains", ("Trains run on steel rails.", "They carry people and goods.", "Long trains need strong engines.")),
    Topic("cats", ("Cats sleep for much of the day.", "They hunt mice at night.", "A happy cat often purrs.")),
    Topic(
        "tea", ("Tea is made from dried leaves.", "Hot water draws out the taste.", "Many people drink it with milk.")
    ),
    Topic(
        "maps",
        ("A map shows where places are.", "Its scale tells how far apart they lie.", "North is often at the top."),
    ),
    Topic(
        "gardens", ("A garden needs sun and water.", "Weeds grow faster than flowers.", "Worms keep the soil loose.")
    ),
    Topic(
        "bridges",
        (
            "A bridge carries a road over water.",
            "Old bridges were built of stone.",
            "New ones often hang from steel cables.",
        ),
    ),
    Topic(
        "snow",
        (
            "Snow forms when water freezes in clouds.",
            "Each flake has six sides.",
            "A thick layer of it keeps plants safe from frost.",
        ),
    ),
    Topic(
        "owls",
        ("Owls hunt at night.", "Their soft feathers make little noise.", "An owl can turn its head far round."),
    ),
    Topic("glass", ("Glass is made from melted sand.", "Light passes through it.", "It can be melted and used again.")),
    Topic(
        "lighthouses",
        ("A lighthouse stands near the sea.", "Its light warns ships of rocks.", "Each one flashes in its own way."),
    ),
    Topic(
        "coffee",
        (
            "Coffee is made from roasted beans.",
            "Hot water is poured over the ground beans.",
            "Many people drink it in the morning.",
        ),
    ),
    Topic("kites", ("A kite flies on a long string.", "It needs a steady wind.", "Some kites have a colourful tail.")),
    Topic(
        "windmills",
        ("A windmill turns with the wind.", "Old ones ground grain into flour.", "New ones make electric power."),
    ),
    Topic(
        "candles",
        (
            "A candle burns with a small flame.",
            "The wick draws up melted wax.",
            "People once lit their homes with them.",
        ),
    ),
)


class Rule(NamedTuple):
    """A constraint: how it is checked (a verifier and its parameters), and how it is said."""

    name: str
    check: tuple[str, Mapping[str, Any]]
    said: str
    value: Any = None


def _ifeval(name: str, id_: str, kwargs: Mapping[str, Any], said: str, value: Any = None) -> Rule:
    return Rule(name, ("ifeval", {"instructions": [{"id": id_, "kwargs": dict(kwargs)}]}), said, value)


def bullets(count: int) -> Rule:
    """Exactly so many bullet points."""
    said = f"give exactly {count} bullet points, each starting with an asterisk and a space"
    return _ifeval("bullets", "detectable_format:number_bullet_lists", {"num_bullets": count}, said, count)


def ends(phrase: str) -> Rule:
    """A last sentence."""
    said = f'end with the exact words "{phrase}"'
    return _ifeval("ends", "startend:end_checker", {"end_phrase": phrase}, said, phrase)


def holds(word: str) -> Rule:
    """A word that must be there."""
    return _ifeval("holds", "keywords:existence", {"keywords": [word]}, f'use the word "{word}"', word)


def lacks(word: str) -> Rule:
    """A word that may not be there."""
    return _ifeval("lacks", "keywords:forbidden_words", {"forbidden_words": [word]}, f'do not use the word "{word}"')


def under(count: int) -> Rule:
    """Fewer words than so many."""
    kwargs = {"relation": "less than", "num_words": count}
    return _ifeval("under", "length_constraints:number_words", kwargs, f"use fewer than {count} words")


def over(count: int) -> Rule:
    """So many words at least."""
    kwargs = {"relation": "at least", "num_words": count}
    return _ifeval("over", "length_constraints:number_words", kwargs, f"use at least {count} words")


# By letters alone: IFEval's rules of case also ask a language detector, which takes short capitals for German.
LOWER = Rule(
    "lower", ("regex", {"pattern": "[^A-Z]*[a-z][^A-Z]*", "whole": True}), "use small letters only, no capitals"
)
UPPER = Rule("upper", ("regex", {"pattern": "[^a-z]*[A-Z][^a-z]*", "whole": True}), "use capital letters only")
QUOTED = _ifeval("quoted", "startend:quotation", {}, "put double quotation marks around all of it")
TITLED = _ifeval(
    "titled", "detectable_format:title", {}, "start with a title in double angular brackets, such as <<title>>"
)
NO_COMMA = _ifeval("no comma", "punctuation:no_comma", {}, "use no commas")


def check(rules: Sequence[Rule]) -> tuple[str, Mapping[str, Any]]:
    """Return the check of a row that asks for ``rules``; its value is the share of them that an answer follows."""
    return "every", {"checks": [{"verifier": rule.check[0], "params": dict(rule.check[1])} for rule in rules]}


def said(rules: Sequence[Rule]) -> str:
    """Return the rules as one sentence."""
    text = ", and ".join(rule.said for rule in rules)
    return f"{text[:1].upper()}{text[1:]}."


def render(sentences: Sequence[str], rules: Sequence[Rule]) -> str:
    """Return a text of ``sentences`` that follows ``rules``."""
    by = {rule.name: rule.value for rule in rules}
    lines = list(sentences[:2])
    if "holds" in by:
        lines[-1] = f"{lines[-1]} This is {by['holds']} true."
    text = " ".join(lines)
    if "bullets" in by:
        text = "\n".join(f"* {line}" for line in sentences[: by["bullets"]])
    if "titled" in by:
        text = f"<<A few facts>>\n{text}"
    if "ends" in by:
        text = f"{text}\n{by['ends']}"
    if "lower" in by:
        text = text.lower()
    if "upper" in by:
        text = text.upper()
    return f'"{text}"' if "quoted" in by else text

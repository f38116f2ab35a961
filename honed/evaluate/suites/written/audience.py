"""One topic for four readers: the answers should differ in grade, length and tone."""

from __future__ import annotations

from typing import Any

from honed.evaluate.suites.written.row import Row, Written, row

_READERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "child",
        "Explain to a child of seven {t}. Speak to the child, use short sentences of at most 12 words and easy words, "
        "and no more than 45 words in all.",
        {"grade_at_most": 5, "words_at_most": 45, "words_at_least": 8, "longest": 12, "tones": ["friendly"]},
    ),
    (
        "second_language",
        "Explain {t} to someone who is learning English. Use easy words, sentences of at most 14 words, no short forms "
        "such as don't, and no more than 50 words in all.",
        {"grade_at_most": 6, "words_at_most": 50, "words_at_least": 8, "longest": 14, "tones": ["formal"]},
    ),
    (
        "general",
        "Explain {t} to a grown-up who is curious, in two or three sentences: 25 to 70 words in all.",
        {"grade_at_most": 13, "words_at_most": 70, "words_at_least": 25},
    ),
    (
        "expert",
        "Explain {t} to a scientist in technical terms, in a formal tone, without saying I, you or we: 30 to 80 words.",
        {
            "grade_at_least": 11,
            "words_at_most": 80,
            "words_at_least": 30,
            "tones": ["formal", "impersonal", "technical"],
        },
    ),
)
_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("why the sky is blue", ("light", "sunlight", "scattering", "blue")),
    ("why leaves fall in autumn", ("leaves", "trees", "tree", "water")),
    ("how a rainbow is made", ("light", "rain", "water", "drops", "droplets")),
    ("why ice floats on water", ("ice", "water", "float", "floats", "density")),
    ("how bread dough rises", ("yeast", "gas", "bubbles", "dough", "carbon dioxide")),
    ("why we have day and night", ("earth", "sun", "turns", "rotates", "spins", "rotation")),
    ("how a magnet holds iron", ("magnet", "magnetic", "iron", "pull", "pulls")),
    ("why the sea is salty", ("salt", "salts", "rivers", "rocks", "minerals")),
    ("how bees make honey", ("nectar", "flowers", "honey", "hive")),
    ("why we sleep", ("sleep", "rest", "body", "brain")),
    ("how a sail moves a boat", ("wind", "sail", "boat")),
    ("why metal feels colder than wood", ("heat", "metal", "warm", "warmth", "conducts", "conductivity")),
    ("how a kite stays in the air", ("wind", "kite", "lift", "string")),
    ("why we see lightning before we hear thunder", ("light", "sound", "faster", "speed", "velocity")),
    ("how a seed becomes a plant", ("seed", "root", "roots", "water", "shoot", "germination")),
    ("why the moon changes its shape", ("moon", "sun", "sunlight", "light", "illuminated")),
    ("how soap removes grease", ("soap", "grease", "oil", "water", "fat", "surfactant", "surfactants")),
    ("why a ball that is thrown comes down again", ("gravity", "earth", "pull", "pulls", "gravitational")),
    ("how a flask keeps tea hot", ("heat", "air", "walls", "vacuum", "insulation")),
    ("why iron rusts", ("iron", "oxygen", "water", "rust", "air", "oxidation")),
)


def _rows() -> list[Row]:
    found = []
    for place, (topic, mentions) in enumerate(_TOPICS):
        for reader, wording, params in _READERS:
            tags = {"benefit": "audience", "task": "explain", "audience": reader, "family": f"topic-{place:02}"}
            check = ("style", {**params, "mentions": list(mentions)})
            found.append(row(f"audience-{place:02}-{reader}", wording.format(t=topic), check, tags))
    return found


SUITE = Written("audience", "One topic explained to four readers", 128, _rows)

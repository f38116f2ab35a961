"""Toxic words are counted where they are meant, and left alone where they are spoken of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from honed.config import build
from honed.data.curate import pii, presidio
from honed.data.curate.pii import Pii
from honed.data.curate.presidio import Both, Presidio
from honed.data.curate.recipe import CurateConfig
from honed.data.curate.toxicity import KINDS, matches
from honed.errors import ConfigError
from honed.store.workspace import Workspace
from tests.data.curated import curated, said, stored


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You're an idiot.", "insult"),
        ("You\u2019re an IDIOT!", "insult"),
        ("I will find you and\nhurt you", "threat"),
        ("Just kill yourself", "self_harm"),
        ("What the fuck is this?", "profanity"),
        ("He called them wetbacks.", "slur"),
        ("It shows porn", "sexual"),
    ],
)
def test_a_phrase_is_found_as_its_kind(text: str, kind: str) -> None:
    assert [one.kind for one in matches(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "How do I kill a process in Linux?",
        "The town of Scunthorpe has a cockpit museum.",
        "Is 'bastard' a swear word in English?",
        "If you feel you would be better off dead, call a crisis helpline.",
        "The villain says: I will kill you.",
        "A chink in the armour; the Dutch built a dyke.",
        "Research on pornography addiction",
        "Shiitake and class assignments are passive aggressive.",
    ],
)
def test_words_that_only_look_so_or_are_spoken_of_are_left_alone(text: str) -> None:
    assert matches(text) == []


def test_of_overlapping_phrases_the_graver_counts() -> None:
    assert [(one.kind, one.words) for one in matches("You bitch, shit")] == [
        ("insult", "you bitch"),
        ("profanity", "shit"),
    ]


def test_rows_with_toxic_words_are_reported_not_dropped(workspace: Workspace) -> None:
    rows = [
        said("Say hello", "Go to hell, you idiot. Shit."),
        said("shut up", "Please ask again."),
        said("Hi", "Hello"),
    ]
    stored(workspace, rows)
    result, left = curated(workspace, "toxicity")
    assert len(left) == 3
    report = result["curation"][0]
    assert (report["reported"], report["dropped"], report["kinds"]) == (2, 0, {"toxic: insult": 2})


def test_toxic_answers_are_dropped_if_the_recipe_says_so(workspace: Workspace) -> None:
    stored(workspace, [said("shut up", "Please ask again."), said("Hi", "Shut up"), said("Hi!", "Hello")])
    result, left = curated(workspace, "toxicity", toxicity={"action": "drop", "turns": "answers"})
    assert [row.answer for row in left] == ["Please ask again.", "Hello"]
    assert result["dropped"] == {"toxic: insult": 1}


def test_each_kind_has_a_list() -> None:
    assert set(KINDS) == {"slur", "threat", "self_harm", "insult", "sexual", "profanity"}
    assert matches("you're an idiot and this is shit", ("profanity",))[0].words == "shit"


class Analyzer:
    """What Presidio finds: each "Ada", and numbers that our patterns know better."""

    def analyze(self, text: str, language: str, entities: list[str], score_threshold: float) -> list[SimpleNamespace]:
        assert (language, entities, score_threshold) == ("en", ["PERSON"], 0.5)
        at = text.find("Ada")
        found = [SimpleNamespace(start=at, end=at + 3, entity_type="PERSON", score=0.85)] if at >= 0 else []
        mail = text.find("ada@")
        return found + (
            [SimpleNamespace(start=mail, end=mail + 3, entity_type="PERSON", score=1.0)] if mail >= 0 else []
        )


def test_what_presidio_finds_is_masked_beside_our_own_patterns(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (presidio, pii):
        monkeypatch.setattr(module, "analyzer", lambda model, language: Analyzer())
    stored(workspace, [said("Who wrote it?", "Ada Lovelace, ada@example.org, did."), said("Hi", "Hello")])
    _, left = curated(workspace, "pii", pii={"engine": "presidio"})
    assert [row.answer for row in left] == ["[PERSON] Lovelace, [EMAIL], did.", "Hello"]
    _, left = curated(workspace, "pii", pii={"engine": "presidio", "kinds": {"person": "drop"}})
    assert [row.answer for row in left] == ["Hello"]
    assert Both(Presidio(), ("email",))("Ada") == []


def test_presidio_that_is_not_installed_is_said_plainly(workspace: Workspace) -> None:
    try:
        import presidio_analyzer  # noqa: F401
    except ImportError:
        stored(workspace, [said("Hi", "Hello")])
        with pytest.raises(ConfigError, match="Presidio isn't installed here") as told:
            curated(workspace, "pii", pii={"engine": "presidio"})
        assert "pip install 'honed[presidio]'" in str(told.value.hint)
    else:
        pytest.skip("Presidio is installed here")


def test_a_kind_that_nobody_looks_for_is_refused() -> None:
    values = {"dataset": "a", "name": "b", "pii": {"kinds": {"phon": "keep"}}}
    with pytest.raises(ConfigError, match="'phon' is no kind; did you mean 'phone'"):
        build(CurateConfig, values, "test")
    assert Pii(engine="presidio").named()[-1] == "person"

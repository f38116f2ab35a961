"""The suites of our own: whole, solvable, not won by answers that read nothing, and apart from the training rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from honed import registry
from honed.builtin.load import load
from honed.errors import ConfigError, DataError
from honed.evaluate import scoring, stats
from honed.evaluate.families import design_effect, family, sums
from honed.evaluate.gate import GateConfig
from honed.evaluate.suites import chosen, suite
from honed.evaluate.suites.suite import Suite
from honed.evaluate.suites.written.row import Written
from honed.evaluate.suites.written.write import SUITES, files

HOME = Path(suite.__file__).parent
FLOORS = {"paraphrases": 0.25, "twins": 0.5, "sycophancy": 0.4, "specificity": 0.15, "safety": 0.1}


@pytest.fixture(scope="module")
def every() -> dict[str, Suite]:
    return {one.name: suite.read(one.name) for one in SUITES}


@pytest.mark.parametrize("one", SUITES, ids=lambda one: one.name)
def test_a_folder_is_what_its_generator_writes(one: Written) -> None:
    assert {path.name: path.read_text() for path in (HOME / one.name).iterdir()} == files(one)


def test_every_suite_has_a_licence_and_each_row_a_benefit_and_a_task(every: dict[str, Suite]) -> None:
    for found in every.values():
        assert found.manifest.licence == "Apache-2.0"
        assert found.manifest.max_tokens
        assert all({"benefit", "task"} <= row.tags.keys() for row in found.rows)


def test_each_ideal_answer_passes(every: dict[str, Suite]) -> None:
    for found in every.values():
        for row in found.rows:
            judge = registry.get("verifiers", row.check.verifier)
            if row.ideal:
                assert judge(row.check.params, row.prompt, row.ideal).passed, row.id
    assert [name for name, found in every.items() if not all(row.ideal for row in found.rows)] == ["audience"]


def test_readers_of_one_topic_can_all_be_suited_and_by_no_single_answer(every: dict[str, Suite]) -> None:
    answers = {
        "child": "Look at the sky! The light of the sun has many colours. The air throws the blue light around.",
        "second_language": "Light from the sun has many colours. The air sends the blue light in all directions.",
        "general": "Sunlight holds all colours. The tiny parts of the air turn the blue part aside far more than the "
        "red one, so blue light reaches our eyes from every side of the sky.",
        "expert": "Rayleigh scattering of solar radiation by atmospheric molecules varies inversely with the fourth "
        "power of wavelength; consequently, shorter wavelengths predominate in diffuse celestial illumination, while "
        "chromatic sensitivity and spectral intensity determine perceived coloration.",
    }
    rows = [row for row in every["audience"].rows if row.tags["family"] == "topic-00"]
    judge = registry.get("verifiers", "style")
    passed = {
        name: {row.tags["audience"] for row in rows if judge(row.check.params, row.prompt, text).passed}
        for name, text in answers.items()
    }
    assert all(name in readers for name, readers in passed.items()), passed
    assert all(len(readers) < len(rows) for readers in passed.values()), passed


def test_answers_that_read_nothing_pass_hardly_any_row(every: dict[str, Suite]) -> None:
    for name, found in every.items():
        rows = [row.conversation for row in found.rows]
        floors, _ = scoring.floors(rows, scoring.verifiers(rows))
        assert floors is not None
        assert max(floors.constants[text] for text in scoring.CONSTANTS) == 0.0, name
        assert floors.echo.rate <= FLOORS.get(name, 0.02), name


def test_no_two_rows_of_all_suites_ask_the_same(every: dict[str, Suite]) -> None:
    asked = Counter(plain(row.key) for found in every.values() for row in found.rows)
    assert [text for text, count in asked.items() if count > 1] == []


@pytest.mark.parametrize("one", SUITES, ids=lambda one: one.name)
def test_a_suite_can_show_that_nothing_fell(one: Written, every: dict[str, Suite]) -> None:
    rows = every[one.name].rows
    assert len(rows) >= 80 > GateConfig().least_rows
    passed = [place % 2 == 0 for place in range(len(rows))]
    names = [family(row.tags, row.prompt) for row in rows]
    pairs = stats.count(passed, passed)
    effect = design_effect(pairs, sums(passed, passed, names))
    ruled_out = stats.not_worse(pairs, 0.1, effect) < GateConfig().alpha
    assert ruled_out or one.name in ("paraphrases", "audience")  # of four rows a family: the ten together show it


def test_families_are_whole(every: dict[str, Suite]) -> None:
    for name, size in (("paraphrases", 4), ("twins", 2), ("audience", 4), ("sycophancy", 2)):
        assert set(Counter(row.tags["family"] for row in every[name].rows).values()) == {size}


def test_no_prompt_of_a_suite_is_among_the_embedded_rows(every: dict[str, Suite]) -> None:
    trained = {plain(turn.content) for split in ("train", "heldout") for row in load(split) for turn in row.messages}
    runs = {run for text in trained for run in eights(text)}
    for found in every.values():
        for row in found.rows:
            asked = plain(row.prompt[-1].content)
            assert asked not in trained, row.id
            assert not runs & eights(asked), row.id


def plain(text: str) -> str:
    """The words alone."""
    return " ".join(re.findall(r"\w+", text.lower()))


def eights(text: str) -> set[tuple[str, ...]]:
    """Runs of eight words."""
    words = text.split()
    return {tuple(words[place : place + 8]) for place in range(len(words) - 7)}


def test_the_group_of_benefits_is_all_of_them_as_one_suite(every: dict[str, Suite]) -> None:
    whole = chosen.read(["benefits"])
    assert len(whole.rows) == sum(len(found.rows) for found in every.values())
    assert {row.tags["suite"] for row in whole.rows} == set(every)
    assert {row.tags["benefit"] for row in whole.rows} == {
        "precision", "specificity", "context", "misinterpretation", "audience", "forgetting", "safety",
    }  # fmt: skip
    assert whole.hash == chosen.read(["benefits"]).hash != chosen.read(["precision", "twins"]).hash
    assert chosen.max_tokens(["benefits"]) == max(one.max_tokens for one in SUITES)
    assert chosen.max_tokens(["precision", "ifeval"]) is None


def test_one_suite_keeps_its_hash_and_says_which_it_is() -> None:
    found = chosen.read(["twins"])
    assert found.hash == suite.read("twins").hash
    assert {row.tags["suite"] for row in found.rows} == {"twins"}


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["benefit"], "there is no suite 'benefit'"),
        (["twinz"], "there is no suite 'twinz'"),
        (["twins", "benefits"], "the suite 'twins' is asked for twice"),
    ],
)
def test_a_suite_that_is_not_there_or_twice_is_an_error(names: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as raised:
        chosen.pinned(names)
    assert raised.value.hint


def test_two_suites_with_one_prompt_can_not_be_measured_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(f'{{"name": "{name}"}}')
        row = '{"prompt": "Hi", "check": {"verifier": "exact", "params": {"answers": "a"}}}'
        (tmp_path / name / "rows.jsonl").write_text(row + "\n")
    with pytest.raises(DataError, match="have one prompt"):
        chosen.read([str(tmp_path / "one"), str(tmp_path / "two")])


def test_wrong_parameters_of_a_row_are_named_by_line_and_field(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "mine"}')
    rows = [
        '{"prompt": "A?", "check": {"verifier": "number", "params": {"answer": "x"}}}',
        '{"prompt": "B?", "check": {"verifier": "label", "params": {"labels": ["a", "b"], "answer": "c"}}}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError) as raised:
        suite.read(str(tmp_path))
    assert "rows.jsonl:1: check: the verifier 'number': answer: " in raised.value.message
    assert "rows.jsonl:2: check: the verifier 'label': answer: 'c' is none of the labels" in raised.value.message

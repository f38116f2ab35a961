from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from honed import config
from honed.errors import ConfigError


class Filter(config.Config):
    """Settings of a part of it."""

    paper: bool = Field(default=True, description="paper, not cloth")


class Brew(config.Config):
    """Settings of an invented stage."""

    synonyms: ClassVar[dict[str, str]] = {
        "heat": "temperature",
        "espresso": "grind: fine",
        "cloth": "filter.paper: false",
        "toast": "another machine",
    }

    beans: str = Field(default="house", description="name of the beans")
    temperature: float = Field(default=93.0, gt=0, le=100, description="degrees Celsius")
    cups: int = Field(default=2, ge=1, description="how many cups")
    milk: bool = Field(default=False, description="whether to add milk")
    grind: Literal["fine", "coarse"] = Field(default="fine", description="how fine")
    columns: dict[str, str] = Field(default_factory=dict, description="a mapping")
    sizes: tuple[float, ...] = Field(default=(), description="some numbers")
    filter: Filter = Field(default=Filter(), description="how it is filtered")


def _load(sets: tuple[str, ...] = (), path: Path | None = None, **flags: object) -> Brew:
    return config.load(Brew, "brew", path, sets, flags)


def test_nothing_given_is_the_defaults() -> None:
    assert _load() == Brew()


def test_a_flag_wins_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "brew.yaml"
    path.write_text("beans: file\ncups: 3\ntemperature: 80\n")
    assert _load(("cups=4", "temperature=90"), path, temperature=95.0) == Brew(beans="file", cups=4, temperature=95)


def test_a_flag_that_was_not_given_overrides_nothing() -> None:
    assert _load(("cups=4",), cups=None).cups == 4


def test_settings_may_stand_under_the_name_of_the_stage(tmp_path: Path) -> None:
    path = tmp_path / "brew.yaml"
    path.write_text("brew:\n  cups: 3\n")
    assert _load(path=path).cups == 3
    assert _load(("brew.cups=5",), path).cups == 5


@pytest.mark.parametrize(
    ("item", "field", "value"),
    [
        ("temperature=1e1", "temperature", 10.0),
        ("temperature=9.5e+1", "temperature", 95.0),
        ("milk=true", "milk", True),
        ("beans=a=b", "beans", "a=b"),
        ("beans='1e-4'", "beans", "1e-4"),
        ("beans='7'", "beans", "7"),
        ("columns={prompt: question}", "columns", {"prompt": "question"}),
        ("sizes=[1e-4, 2]", "sizes", (1e-4, 2.0)),
        ("cups=7", "cups", 7),
    ],
)
def test_a_value_is_read_as_yaml_and_numbers_as_people_write_them(item: str, field: str, value: object) -> None:
    assert getattr(_load((item,)), field) == value


@pytest.mark.parametrize("text", ["v1_2", "nan_bread", "infinity", "nan", "7e", "e5", "1e-4x", "house-2024", "1.2.3"])
def test_text_that_only_looks_a_little_like_a_number_stays_text(text: str) -> None:
    assert _load((f"beans={text}",)).beans == text


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "brew.yaml"
    path.write_text("temprature: 80\n")
    with pytest.raises(ConfigError, match=r"brew\.yaml: unknown key 'temprature'") as raised:
        _load(path=path)
    assert raised.value.hint == "Did you mean 'temperature'?"
    with pytest.raises(ConfigError, match="brew: unknown key 'zzz'") as raised:
        _load(("zzz=1",))
    assert raised.value.hint == "Known keys: beans, columns, cups, filter, grind, milk, sizes, temperature."


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("heat", "Here it is 'temperature': degrees Celsius"),
        ("espresso", "Here it is 'grind: fine': how fine"),
        ("cloth", "Here it is 'filter.paper: false': paper, not cloth"),
        ("toast", "Here it is 'another machine'."),
    ],
)
def test_a_key_by_the_name_that_others_have_for_it_is_answered_with_ours_and_what_it_means(
    word: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=f"brew: unknown key '{word}'") as raised:
        _load((f"{word}=1",))
    assert raised.value.hint == hint


@pytest.mark.parametrize("word", ["milliner", "seeds"])
def test_a_key_that_shares_some_letters_with_a_setting_is_not_taken_for_it(word: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _load((f"{word}=1",))
    assert raised.value.hint.startswith("Known keys:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cups: 1\nmilk: true\ncups: 2\n", "brew.yaml:3: the key 'cups' stands twice, first in line 1"),
        ("cups: 1\n'cups': 2\n", "brew.yaml:2: the key 'cups' stands twice, first in line 1"),
        ("columns:\n  a: b\n  a: c\n", "brew.yaml:3: the key 'a' stands twice, first in line 2"),
    ],
)
def test_a_key_that_stands_twice_is_told_with_both_lines(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "brew.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        _load(path=tmp_path / "brew.yaml")
    assert raised.value.message == str(tmp_path / said)
    assert raised.value.hint == "Leave one of the two."


def test_a_key_beside_a_mapping_that_is_merged_in_is_no_repetition(tmp_path: Path) -> None:
    (tmp_path / "brew.yaml").write_text("filter: &f {paper: false}\ncolumns: &c {a: b}\n<<: {cups: 3}\ncups: 4\n")
    assert _load(path=tmp_path / "brew.yaml").cups == 4


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("temperature=.inf", "brew: temperature: Input should be a finite number, not inf"),
        ("temperature=0", "brew: temperature: Input should be greater than 0, not 0"),
        ("cups=many", "brew: cups: Input should be a valid integer"),
        ("grind=medium", "brew: grind: Input should be 'fine' or 'coarse', not 'medium'"),
        ("sizes=[1, two]", "brew: sizes.1: Input should be a valid number"),
    ],
)
def test_a_value_out_of_range_says_what_is_allowed_and_what_the_key_means(item: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _load((item,))
    assert message in raised.value.message
    key = item.partition("=")[0]
    description = Brew.model_fields[key].description
    assert description
    assert description in raised.value.hint


def test_a_required_setting_that_is_missing_is_told_with_its_meaning() -> None:
    class Order(config.Config):
        table: int = Field(description="number of the table")

    with pytest.raises(ConfigError, match="order: table: this setting is required") as raised:
        config.load(Order, "order", None, (), {})
    assert raised.value.hint == "table: number of the table"


def test_set_without_an_equals_sign_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match="--set cups: there is no '='") as raised:
        _load(("cups",))
    assert raised.value.hint == "Write --set brew.KEY=VALUE."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cups: [1\n", r"brew\.yaml:2: not YAML"),
        ("a: b: c\n", r"brew\.yaml:1: not YAML"),
        ("just words\n", "not 'key: value' lines"),
        ("- 1\n- 2\n", "not 'key: value' lines"),
        ("3: 4\n", "unknown key"),
        ("\x00", "not YAML"),
        ("beans: 2024-99-99\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_settings_is_told_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "brew.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        _load(path=path)


def test_a_file_that_is_missing_not_readable_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        _load(path=tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        _load(path=tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        _load(path=tmp_path / "binary.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert _load(path=tmp_path / "empty.yaml") == Brew()


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)
_BREWS = st.builds(
    Brew,
    beans=_TEXT,
    temperature=st.floats(1e-12, 100, exclude_min=True),
    cups=st.integers(1, 10**9),
    columns=st.dictionaries(_TEXT, _TEXT, max_size=3),
    sizes=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(brew=_BREWS)
def test_saved_settings_come_back_as_they_were(brew: Brew) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        config.save(brew, path)
        assert config.read(Brew, path) == brew


@given(text=st.text())
def test_no_text_after_set_escapes_as_anything_but_a_config_error(text: str) -> None:
    try:
        _load((text,))
    except ConfigError as error:
        assert error.message

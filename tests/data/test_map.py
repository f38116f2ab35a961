"""A map: themes are found and named, what is thin is named, and the page holds it all without network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honed.cli.main import run as honed
from honed.data.curate.words import words
from honed.data.map import cluster, lexical, naming, plane, thin
from honed.data.map.coverage import Coverage
from honed.data.map.kinds import kind
from honed.data.map.worker import work
from honed.errors import DataError
from honed.records import Conversation
from honed.store.workspace import Workspace
from tests.data.curated import said, stored
from tests.data.scored import never, queued, themed
from tests.rounds.curve.desk import run_here
from tests.tiny import tiny_folder


def mapped(workspace: Workspace, **settings: Any) -> Coverage:
    return Coverage.model_validate(work(queued(workspace, "map", **settings), never))


def tagged(rows: list[Conversation], **tags: str) -> list[Conversation]:
    return [row.model_copy(update={"tags": tags}) for row in rows]


def test_themes_are_regions_named_by_their_words_and_the_small_one_is_thin(workspace: Workspace) -> None:
    stored(workspace, themed({"garden": 60, "kitchen": 50, "engine": 4}))
    found = mapped(workspace, regions=3)
    assert [region.part.rows for region in found.regions] == [60, 50, 4]
    assert "garden" in found.regions[0].part.name and "cake" in found.regions[1].part.name
    assert [bool(region.part.thin) for region in found.regions] == [False, False, True]
    assert found.headline == "114 instructions in 3 regions; 1 of them is thin."
    first = found.collect[0]
    assert (first.about, first.have, first.rows) == ("region", 4, 9)
    assert first.sentence.startswith("Collect about 9 more rows on ") and "“Explain how piston" in first.sentence
    assert len(first.like) == 3
    assert dict(found.objects)["write"][0] == ("recipe", 50)
    saved = Coverage.model_validate_json((Path(found.page).parent / "map.json").read_bytes())
    assert saved == found


def test_the_same_rows_give_the_same_map(workspace: Workspace) -> None:
    stored(workspace, themed({"garden": 30, "kitchen": 30, "engine": 30}))
    one, other = mapped(workspace, regions=3), mapped(workspace, regions=3)
    assert one.model_copy(update={"page": ""}) == other.model_copy(update={"page": ""})


def test_beside_a_target_thin_is_what_the_target_has_more_of(workspace: Workspace) -> None:
    stored(workspace, themed({"garden": 40, "kitchen": 40, "engine": 8}))
    stored(workspace, [], heldout=themed({"engine": 30, "garden": 10}), name="exam")
    found = mapped(workspace, regions=3, measure={"target": "exam"})
    engine = next(region.part for region in found.regions if region.part.rows == 8)
    assert engine.target_share == 0.75 and engine.thin == "9.1% of the rows, 75.0% of the target"
    assert found.collect[0].name == engine.name and found.collect[0].rows == 25
    assert "beside exam" in found.headline


def test_a_model_reads_the_instructions_if_it_is_named(workspace: Workspace, tmp_path: Path) -> None:
    model = str(tiny_folder(tmp_path / "tiny"))
    stored(workspace, [said(letter * 20 + str(n), "yes") for letter in "aZ" for n in range(12)])
    found = mapped(workspace, regions=2, measure={"model": model})
    assert found.read_by == model and [region.part.rows for region in found.regions] == [12, 12]


def test_audiences_and_kinds_are_those_that_rows_declare_and_missing_pairs_are_named(workspace: Workspace) -> None:
    rows = tagged(themed({"garden": 40}), task="qa", audience="child")
    rows += tagged(themed({"kitchen": 40}), task="write", audience="expert")
    stored(workspace, [*rows, *tagged(themed({"engine": 3}), task="qa", audience="expert")])
    found = mapped(workspace)
    assert found.kinds_by == "tag task"
    assert [(part.name, part.rows) for part in found.audiences] == [("expert", 43), ("child", 40)]
    assert [one.sentence for one in found.collect if one.about == "pair"] == [
        "Collect rows of write for the audience child: there are none yet."
    ]


def test_without_declared_audiences_nothing_is_said_of_them(workspace: Workspace) -> None:
    stored(workspace, themed({"garden": 20}))
    found = mapped(workspace)
    assert found.audiences == () and "they are never guessed" in Path(found.page).read_text()


def test_the_page_needs_no_network_and_escapes_what_rows_say(workspace: Workspace) -> None:
    evil = said("<img src=x onerror=alert(1)></script> roses garden <b>tulips</b>", "Fine.")
    stored(workspace, [*themed({"garden": 20, "kitchen": 20}), evil])
    text = Path(mapped(workspace, regions=2).page).read_text()
    body = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["']?http""", body) and "default-src 'none'" in body
    assert "<img src=x" not in text
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, flags=re.DOTALL)[0])
    assert set(data["charts"]) == {"map", "regions", "kinds", "answers"}
    dots = [hover for trace in data["charts"]["map"]["data"] for hover in trace["text"]]
    assert len(dots) == 41 and not any("<img" in hover for hover in dots)
    assert set(data["colours"]) >= {"base", "tuned", "hue0", "halo"}


def test_too_few_rows_and_an_unknown_tag_are_said(workspace: Workspace) -> None:
    stored(workspace, themed({"garden": 7}))
    with pytest.raises(DataError, match="has 7 training rows, too few for a map"):
        mapped(workspace)
    stored(workspace, themed({"garden": 9}))
    with pytest.raises(DataError, match="no row has the tag mood"):
        mapped(workspace, kind="mood")


def test_equal_rows_and_rows_without_words_are_mapped(workspace: Workspace) -> None:
    stored(workspace, [*[said("?", str(number)) for number in range(6)], *[said("rose", f"a{n}") for n in range(6)]])
    found = mapped(workspace)
    assert sum(region.part.rows for region in found.regions) == 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write a short story about a fox", ("write", "story")),
        ("Please generate a list of five countries.", ("generate", "list")),
        ("Give me three tips for staying healthy", ("give", "tips")),
        ("Given the text below, identify the main topic: ...", ("identify", "topic")),
        ("What is a good name for a cat?", ("question", "what")),
        ("Is this sentence correct?", ("question", "yes or no")),
        ("Can you summarize the article?", ("summarize", "article")),
        ("How do I bake? Write it down", ("question", "how")),
        ("Schreibe ein Gedicht", ("other", "")),
        ("", ("other", "")),
    ],
)
def test_the_kind_of_a_request_is_its_verb_and_object(text: str, expected: tuple[str, str]) -> None:
    assert kind(text) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["Write", "a", "is", "What", "?", ",", "to", "story", "\n", "é", "me"]), max_size=9))
def test_any_text_has_a_kind(said_: list[str]) -> None:
    verb, thing = kind(" ".join(said_))
    assert verb and isinstance(thing, str)


def test_clusters_are_numbered_by_size_and_every_row_is_in_the_nearest() -> None:
    random = np.random.default_rng(0)
    unit = np.concatenate([random.normal(middle, 0.1, (size, 3)) for middle, size in ((1, 5), (-1, 20))])
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    found = cluster.clustered(unit, 2, 0)
    assert np.bincount(found.of).tolist() == [20, 5]
    assert (cluster.nearest(unit, found.middles) == found.of).all()
    assert [cluster.count_for(rows) for rows in (1, 8, 2666, 1_000_000)] == [1, 4, 16, 30]


def test_neighbours_stay_neighbours_on_the_plane() -> None:
    random = np.random.default_rng(0)
    middles = random.normal(size=(3, 8))
    unit = np.repeat(middles, 40, axis=0) + random.normal(0, 0.05, (120, 8))
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    points = plane.laid_out(unit, 0)
    of = np.repeat(np.arange(3), 40)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (of[apart.argmin(axis=1)] == of).mean() > 0.95
    assert (points == plane.laid_out(unit, 0)).all()


def test_names_are_words_that_tell_and_not_the_commonest() -> None:
    texts = [naming.telling(words(row.prompt[0].content)) for row in themed({"garden": 9, "engine": 9})]
    named = naming.distinctive(texts, [0] * 9 + [1] * 9, 2)
    assert set(named[0]) < {"roses", "tulips", "plant", "garden", "soil", "number"} and len(named[0]) == 3
    assert not {"which", "should", "and", "in"} & {word for text in texts for word in text}
    lexicon = lexical.Lexicon(texts, 0)
    assert np.linalg.norm(lexicon.read([texts[0], ["unheard"]]), axis=1) == pytest.approx([1, 0], abs=1e-5)


def test_the_rules_for_thin_are_those_that_are_written() -> None:
    assert thin.uneven(33, 100, 2, 1 / 3) == "" and thin.uneven(16, 100, 2, 1 / 3) != ""
    assert thin.behind(0.05, 0.11) != "" and thin.behind(0.05, 0.1) == "" and thin.behind(0.0, 0.019) == ""
    answers = thin.bands([3] * 98 + [500, 30], 100)
    assert [part.rows for part in answers] == [98, 0, 1, 0, 0, 1]
    assert [bool(part.thin) for part in answers] == [False, True, True, True, True, True]
    spoken = thin.languages({"English": 90, "unclear": 20, "French": 10}, 120, "unclear")
    assert [part.name for part in spoken if part.thin] == ["French"]


def test_the_command_says_it_and_names_the_page(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch)
    stored(workspace, themed({"garden": 60, "kitchen": 50, "engine": 4}))
    assert honed(["data", "map", "set", "--regions", "3", "--workspace", str(workspace.path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("114 instructions in 3 regions") and "thin" in out.splitlines()[-1]
    assert "Collect about 9 more rows on" in err and "map.html" in err

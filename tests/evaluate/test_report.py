"""The report: complete, self-contained, and safe against what rows and models say."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from honed.builtin.load import load
from honed.errors import StoreError
from honed.evaluate import browse, charts, compare, examples, graded, groups, reliable, report, report_single, summary
from honed.evaluate.browse import Shown
from honed.evaluate.curve import Curve
from honed.evaluate.outcome import BaseFloor, HarnessMetric, HarnessScores, rate
from honed.evaluate.report import Stage
from honed.evaluate.stats import Interval
from honed.records import Check, Conversation, Message
from tests.evaluate.planted import evaluation

EVIL = '</script><script>alert("x")</script><img src=https://evil.example/a.png onerror=alert(1)> ``` | `'
ROWS = load("heldout")[:140]


class Tags(HTMLParser):
    """Collects what a browser would load or run, outside the inlined library."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.counts: dict[str, int] = {}
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster") and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if len(data) < 1_000_000:
            self.text.append(data)


def written(folder: Path, rows: list[Conversation], spoil: str = "") -> Path:
    base, tuned = evaluation(rows, 0.2, name="base", seed=1), evaluation(rows, 0.7, name=f"tuned{spoil}", seed=2)
    if spoil:
        answers = {
            name: answer.model_copy(update={"answer": spoil, "why": spoil}) for name, answer in base.answers.items()
        }
        base = compare.Evaluation(base.job, base.outcome, answers, base.losses)
    comparison = compare.compare(base, tuned)
    return report.write(
        folder,
        comparison,
        (base, tuned),
        curve=Curve(train=tuple((step, 3 / step) for step in range(1, 50)), heldout=((0, 3.0), (49, 1.0))),
        stages={
            "train": Stage(seconds=200, peak_rss_bytes=2_000_000_000, ran={"device": f"cpu{spoil}"}),
            **report.stages_of(comparison),
        },
        next_commands=[f"honed chat tuned{spoil}"],
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"), ROWS)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        Conversation(
            messages=(Message(role="user", content=f"{EVIL} {n}"), Message(role="assistant", content=EVIL)),
            tags={"task": f"<b>{n % 2}</b>", "audience": "<script>", "benefit": EVIL},
            check=Check(verifier="route", params={"queue": "billing"}),
        )
        for n in range(20)
    ]
    return written(tmp_path_factory.mktemp("evil"), rows, spoil=EVIL)


def parsed(path: Path) -> Tags:
    tags = Tags()
    tags.feed(path.read_text())
    return tags


def test_the_page_loads_nothing(page: Path, evil: Path) -> None:
    for path in (page, evil):
        assert parsed(path).loads == []
        assert "url(" not in re.sub(r"<script>.*?</script>", "", path.read_text(), flags=re.S)
        assert "default-src 'none'" in path.read_text()


def test_markup_in_rows_answers_tags_and_names_stays_text(page: Path, evil: Path) -> None:
    good, bad = parsed(page), parsed(evil)
    assert bad.handlers == []
    assert bad.counts["script"] == good.counts["script"] == 3
    assert "img" not in bad.counts
    assert EVIL in "".join(bad.text)


def test_the_rows_in_the_page_are_the_samples(page: Path) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    assert found
    data = json.loads(found[1])
    assert {row["row"] for row in data["rows"]} == {row.id for row in ROWS}
    assert {"task", "audience", "benefit", "loss"} == set(data["charts"])


def test_the_page_says_what_matters_first_and_all_of_it(page: Path) -> None:
    text = " ".join("".join(parsed(page).text).replace("\u00a0", " ").split())
    order = [
        "The tuned model passes",
        "Who gained",
        "The numbers",
        "Loss while training",
        "Where it fails",
        "10 real answers",
    ]
    order += ["Every row", "What ran on what", "honed chat tuned", "How the numbers are made"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for part in ("p < 0.001", "2.00 GB", "3 min 20 s", "second language", "repair", "an invented processor"):
        assert part in text


def test_json_holds_the_comparison_and_markdown_the_same_headline(page: Path) -> None:
    document = json.loads((page.parent / "report.json").read_text())
    assert document["comparison"]["overall"]["n"] == 140
    assert list(document["stages"]) == ["train", "evaluate the base model", "evaluate the tuned model"]
    text = (page.parent / "report.md").read_text()
    assert document["headline"] in text
    assert text.count("\n### ") == 10


def test_no_text_closes_a_fence_or_a_table_cell_of_the_markdown(evil: Path) -> None:
    lines = (evil.parent / "report.md").read_text().splitlines()
    table = [line for line in lines[: lines.index("## What else changed")] if line.startswith("| task")]
    assert len(table) == 2
    for line in table:
        assert len(re.findall(r"(?<!\\)\|", line)) == 12
    fence = ""
    for line in lines:
        if not fence and (opened := re.match(r"(`{3,})text$", line)):
            fence = opened[1]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            assert "<script" not in line.replace("\\<script", "")
    assert fence == ""


def test_writing_twice_gives_the_same_files(page: Path, tmp_path: Path) -> None:
    again = written(tmp_path, ROWS)
    for name in ("report.html", "report.md", "report.json"):
        assert (again.parent / name).read_bytes() == (page.parent / name).read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        written(tmp_path / "file" / "report", ROWS[:14])


def test_a_comparison_by_loss_alone_is_reported(tmp_path: Path) -> None:
    rows = [Conversation(messages=row.messages) for row in ROWS[:20]]
    text = written(tmp_path, rows).read_text()
    assert "Held\u2011out loss fell" in text or "Held-out loss fell" in text
    assert "not judged" in text


def test_examples_show_every_outcome_and_let_tasks_take_turns() -> None:
    base, tuned = evaluation(ROWS, 0.3, name="base", seed=1), evaluation(ROWS, 0.6, name="tuned", seed=2)
    samples = compare.pairs(base, tuned)
    chosen = examples.pick(samples, 10)
    assert len({pair.row for pair in chosen}) == 10
    assert {pair.fate for pair in chosen} == {"won", "lost", "both", "neither"}
    won = [pair.tags["task"] for pair in chosen if pair.fate == "won"]
    assert len(set(won)) == len(won)
    assert examples.pick(samples[::-1], 10) == chosen


def test_one_lost_row_among_many_won_is_shown() -> None:
    base, tuned = evaluation(ROWS, 0.0, name="base"), evaluation(ROWS, 1.0, name="tuned")
    samples = compare.pairs(base, tuned)
    lost = samples[5].model_copy(update={"base": samples[5].tuned, "tuned": samples[5].base})
    assert [pair.row for pair in examples.pick([*samples[:5], lost, *samples[6:]], 10) if pair.fate == "lost"] == [
        lost.row
    ]


def test_fewer_rows_than_places_are_all_shown() -> None:
    base, tuned = evaluation(ROWS[:4], 0.3, name="base"), evaluation(ROWS[:4], 0.6, name="tuned")
    assert len(examples.pick(compare.pairs(base, tuned), 10)) == 4


def test_the_best_gain_is_on_top_and_the_colours_are_the_roles() -> None:
    base, tuned = evaluation(ROWS, 0.3, name="base"), evaluation(ROWS, 0.6, name="tuned")
    cells = compare.compare(base, tuned).segments["task"]
    figure = charts.pass_rates(cells)
    by_name = {trace["name"]: trace for trace in figure["data"]}
    assert by_name["base model"]["marker"]["color"] == charts.COLOURS["base"][0]
    assert by_name["tuned model"]["x"] == [100 * cell.tuned.rate for cell in cells]
    assert figure["layout"]["yaxis"]["tickvals"] == [6, 5, 4, 3, 2, 1, 0]


def single(folder: Path, rows: list[Conversation], skill: float = 0.5, spoil: str = "") -> Path:
    made = evaluation(rows, skill, name=f"alone{spoil}")
    if spoil:
        answers = {name: one.model_copy(update={"answer": spoil, "why": spoil}) for name, one in made.answers.items()}
        made = compare.Evaluation(made.job, made.outcome, answers, made.losses)
    return report_single.write(folder, made, next_commands=["honed errors X"])


def measured_in_every_way() -> compare.Evaluation:
    """An evaluation of two groups and a small one, with all that one can have measured."""
    names = ["north"] * 3 + ["south"] * 60 + ["west"] * 77
    rows = [
        row.model_copy(update={"tags": {**row.tags, "region": name, "family": str(at // 2), "suite": "mine"}})
        for at, (row, name) in enumerate(zip(ROWS, names, strict=True))
    ]
    made = evaluation(rows, 0.6, name="alone")
    below = evaluation(rows, 0.3, name="below", seed=1)
    answers = {id_: one.model_copy(update={"value": float(bool(one.passed))}) for id_, one in made.answers.items()}
    floor = BaseFloor(
        model="the base",
        job="evaluate-below",
        rate=rate(bool(one.passed) for one in below.answers.values()),
        guarded=rate(map(groups.guarded, below.answers.values())),
    )
    tags = {row.id: row.tags for row in rows}
    outcome = made.outcome.model_copy(
        update={
            "groups": {
                "region": groups.groups("region", answers, made.losses, tags, groups.Base(floor, below.answers))
            },
            "guarded": rate(map(groups.guarded, answers.values())),
            "base": floor,
            "value": graded.graded(answers.values()),
            "reliable": reliable.reliable(answers.values()),
            "loss_interval": Interval(1.5, 1.75),
            "bits_per_byte": 0.8125,
            "bits_per_byte_interval": Interval(0.75, 0.875),
            "harness": HarnessScores(
                harness="lm-eval",
                version="9.9",
                passed_by={"quiz": "acc"},
                metrics=(HarnessMetric(task="quiz", metric="acc", value=0.4321, error=0.0123),),
            ),
            "unknown": ("the server's precision",),
        }
    )
    return compare.Evaluation(made.job, outcome, answers, made.losses)


def test_the_report_of_one_evaluation_tells_all_that_was_measured(tmp_path: Path) -> None:
    made = measured_in_every_way()
    report_single.write(tmp_path, made)
    page = " ".join("".join(parsed(tmp_path / "report.html").text).replace("\u00a0", " ").split())
    markdown = (tmp_path / "report.md").read_text().replace("\u00a0", " ")
    assert made.outcome.base is not None
    said = [
        ("base floor", "by the base"),
        ("mean value", "graded from 0 to 1"),
        ("mine reliable@2", "families"),
        ("lm-eval 9.9", "quiz acc: 0.4321 (standard error 0.0123)"),
        ("a row passes", "in quiz by acc"),
        ("held-out loss", "(1.5000 to 1.7500) nats per token"),
        ("perplexity", f"({math.exp(1.5):.2f} to {math.exp(1.75):.2f})"),
        ("bits per byte", "0.8125 (0.7500 to 0.8750)"),
        ("not known", "the server's precision"),
        ("floors", "by echoing the prompt"),
    ]
    for name, part in said:
        assert name in page and part in page
        assert name in markdown and part in markdown.replace("\\", "")
    table = next(line for line in markdown.splitlines() if line.startswith("| group"))
    for column in ("guarded", "constant", "echo", "base", "mean value", "whole families", "loss"):
        assert f" {column} |" in table
    lines = [line for line in markdown.splitlines() if line.startswith(("| **all", "| region"))]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {table.count("|")}


def test_a_group_of_too_few_rows_is_named_without_a_rate_in_every_form(tmp_path: Path) -> None:
    report_single.write(tmp_path, measured_in_every_way())
    page = " ".join("".join(parsed(tmp_path / "report.html").text).replace("\u00a0", " ").split())
    assert "too few to say: north (3 rows)" in page
    small = [
        line for line in (tmp_path / "report.md").read_text().splitlines() if "north" in line and line.startswith("|")
    ]
    assert len(small) == 1 and "too few to say: north (3 rows)" in small[0] and "%" not in small[0]
    region = json.loads((tmp_path / "report.json").read_text())["outcome"]["groups"]["region"]
    assert region["small"] == {"north": 3}
    assert all("north" not in region[kind] for kind in ("passed", "guarded", "floors", "values", "reliable", "losses"))


def test_groups_of_rows_without_verifiers_are_told_by_their_loss(tmp_path: Path) -> None:
    rows = [Conversation(messages=row.messages, tags={"region": "south"}) for row in ROWS[:20]]
    made = evaluation(rows, 0.5, name="alone")
    tags = {row.id: row.tags for row in rows}
    found = made.outcome.model_copy(update={"groups": {"region": groups.groups("region", {}, made.losses, tags)}})
    report_single.write(tmp_path, compare.Evaluation(made.job, found, made.answers, made.losses))
    loss = f"{found.groups['region'].losses['south'].loss:.3f}"
    assert summary.table(found).columns == ("rows", "loss")
    assert f"| region: south | 20 | {loss} (" in (tmp_path / "report.md").read_text()
    assert "per region" in (tmp_path / "report.html").read_text()


def embedded(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)
    assert found
    return dict(json.loads(found[1]))


def test_one_evaluation_is_a_page_of_its_own(tmp_path: Path) -> None:
    path = single(tmp_path, ROWS)
    text = " ".join("".join(parsed(path).text).replace("\u00a0", " ").split())
    for part in ("The model passes", "Who it works for", "Where it fails", "Every row", "honed errors X"):
        assert part in text
    data = embedded(path)
    assert {row["fates"][0] for row in data["rows"]} == {"passed", "failed"}
    assert all(row["asked"] and row["groups"] and len(row["said"]) == 1 for row in data["rows"])
    assert "## Where it fails" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("skill", [0.0, 1.0])
def test_a_page_of_one_row_of_only_failures_or_of_none_is_whole(tmp_path: Path, skill: float) -> None:
    for name, rows in (("one", ROWS[:1]), ("few", ROWS[:14])):
        path = single(tmp_path / name, rows, skill)
        assert len(embedded(path)["rows"]) == len(rows)
    bare = single(tmp_path / "bare", [Conversation(messages=row.messages) for row in ROWS[:3]])
    assert "no row has a verifier" in bare.read_text()


def test_hostile_text_in_a_single_page_stays_text(tmp_path: Path) -> None:
    spoil = f"{EVIL} \u202eآخر \u2028"
    path = single(tmp_path, ROWS[:14], spoil=spoil)
    tags = parsed(path)
    assert (tags.handlers, tags.loads, tags.counts["script"]) == ([], [], 3)
    assert embedded(path)["rows"][0]["said"][0]["answer"] == spoil


def test_rows_beyond_what_a_page_may_hold_are_counted_and_in_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "ROWS", 30)
    monkeypatch.setattr(browse, "CHARACTERS", 40)
    path = single(tmp_path, ROWS)
    data = embedded(path)
    assert len(data["rows"]) == 30
    assert "30 of 140 rows" in path.read_text()
    assert "characters more, in report.json" in json.dumps(data["rows"])
    whole = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert len(whole) == 140
    assert "characters more" not in json.dumps(whole)
    monkeypatch.setattr(browse, "BYTES", 10)
    assert len(browse.fit([Shown(str(at), {}, ("won",), {"row": str(at)}) for at in range(9)])) == 1


def test_markdown_is_short_enough_for_a_comment(tmp_path: Path) -> None:
    single(tmp_path, ROWS[:14], 0.0, spoil="word " * 20_000)
    text = (tmp_path / "report.md").read_text()
    assert len(text) < 65_536
    assert "characters more" in text
    many = [row.model_copy(update={"tags": {**row.tags, "region": "x" * 900 + str(at)}}) for at, row in enumerate(ROWS)]
    one, two = evaluation(many, 0.2, name="a"), evaluation(many, 0.7, name="b")
    found = compare.compare(one, two, ["region"], smallest=1)
    report.write(tmp_path, found, (one, two), stages={}, next_commands=[])
    text = (tmp_path / "report.md").read_text()
    assert len(text) < 65_536
    assert text.endswith("The rest is in report.html and report.json: a comment holds no more.\n")

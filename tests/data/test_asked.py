"""Rows that an error analysis asks for: each kind by its method, marked with it, with no text of the evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.cli.main import run as cli
from honed.config import build
from honed.data.synthesize import asks, run
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.worker import work
from honed.errors import DataError, HonedError
from honed.jobs import launch
from honed.jobs.job import Job
from honed.records import Check, Conversation, RowsWanted, WantedRows
from honed.registry import get
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from tests.data.curated import said, stored
from tests.data.synthesized import SEEDS, done, made_up, queued, writes
from tests.evaluate.planted import as_job, evaluation
from tests.loopback import Answer, Body, endpoint
from tests.loopback import said as last

SECRET = "Which of the seven grey herons of Ulmstead wears the brass ring that the verger lost in March of that year?"
REASON = "It lacks the word heronry."


def kind(count: int, **given: Any) -> WantedRows:
    values = {"n": 20, "failed": 15, "shown": True, "why": REASON, "reasons": (REASON,), **given}
    return WantedRows(count=count, **values)


def tagged(row: Conversation, **tags: str) -> Conversation:
    return row.model_copy(update={"tags": {**row.tags, **tags}})


def exam(workspace: Workspace) -> Artifact:
    return stored(workspace, [said("What is a heron?", "A bird.")], [said(SECRET, "The third one.")], name="exam")


def document(folder: Path, measured: Artifact | str, *wanted: WantedRows) -> str:
    data, hash_ = (measured, "") if isinstance(measured, str) else (measured.ref, measured.manifest.hash)
    found = RowsWanted(
        model="m@v1", evaluation="evaluate-1", data=data, data_hash=hash_, split="heldout", rule="", caution="",
        wanted=wanted,
    )  # fmt: skip
    (folder / "errors.json").write_text(found.model_dump_json())
    return str(folder / "errors.json")


def asked(body: Body) -> str:
    return json.dumps(body, ensure_ascii=False)


def test_each_kind_is_made_by_the_method_that_suits_it_and_its_rows_bear_what_they_were_asked_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    check = Check(verifier="pattern", params={"contains": ["four"]})
    german = [said(f"Erkläre mir bitte, was {one} ist und wie es mit der Zeit zu uns kam.", f"Es ist {one} und alt.")
              for one in ("ein Fluss", "das Brot", "der Käse")]  # fmt: skip
    sums = [tagged(said(f"What is 2 plus 2, said by {one}?", "It is four.", check=check), task="sum")
            for one in ("a sailor", "the baker")]  # fmt: skip
    experts = [tagged(row, task="explain", audience="expert") for row in SEEDS[:5]]
    stored(workspace, [*experts, *SEEDS[5:], *german, *sums])
    path = document(
        tmp_path,
        exam(workspace),
        kind(40, verifier="ifeval", constraint="punctuation:no_comma", tags={"benefit": "form"}),
        kind(20, tags={"task": "explain", "audience": "expert"}),
        kind(20, verifier="pattern", constraint="contains", tags={"task": "sum"}),
        kind(20, language="German"),
    )
    deutsch = iter(["Compare the cost of the rent that you have with that of the house.",
                    "Sage mir, wie der Wein und das Bier zu den Leuten im Dorf kam.",
                    "Nenne die Tiere, die auf dem Hof und in der Scheune bei uns sind."])  # fmt: skip

    def answer(number: int, body: Body) -> Answer:
        text = last(body)
        if "language German" in text:
            return Answer(json.dumps({"instruction": next(deutsch, "Was ist das?")}))
        if "in other words" in text:
            return Answer(json.dumps({"instruction": f"Add 2 and 2 for {made_up(text)}."}))
        return writes(number, body) if "Answer with JSON" in text else Answer("It is done in one whole sentence.")

    with endpoint(answer) as served:
        job = queued(workspace, served, "asked", wanted=path, rows=10, endpoint={"concurrency": 1})
        result, rows, left = done(job)
    by = {one["kind"]: one for one in result["asked"]}
    names = ("ifeval punctuation:no_comma", "task explain, audience expert", "pattern contains", "language German")
    assert tuple(by) == names
    assert [one["method"] for one in by.values()] == ["constrain", "self-instruct", "paraphrase", "self-instruct"]
    assert [(one["suggested"], one["asked"], one["kept"]) for one in by.values()] == [(40, 4, 4)] + [(20, 2, 2)] * 3
    assert (by["language German"]["made"], result["dropped"]) == (3, {"other language": 1})
    assert str(left[0][0]).startswith("language German by writer:1: reply: the instruction is English")
    kept = {name: [row for row in rows if row.tags["asked"] == name] for name in names}
    for row in kept[names[0]]:
        assert row.check is not None and row.tags["benefit"] == "form"
        assert [one["id"] for one in row.check.params["instructions"]] == ["punctuation:no_comma"]
        assert get("verifiers", "ifeval")(row.check.params, row.prompt, row.answer).passed
    for row in kept[names[1]]:
        assert (row.tags["task"], row.tags["audience"]) == ("explain", "expert")
        assert row.declared == {"audience": "asked for by evaluate-1"}
    assert [(row.check, row.answer, row.tags["task"]) for row in kept[names[2]]] == [(check, "It is four.", "sum")] * 2
    shown = [last(body) for body in served.asked if "of this kind: task explain, audience expert." in last(body)]
    assert shown and not any(row.messages[0].content in text for text in shown for row in SEEDS[5:])
    assert {row.tags["synthetic"] for row in rows} == {"constrain", "self-instruct", "paraphrase"}
    assert result["synthetic"]["method"] == "asked"


def test_nothing_of_the_evaluation_is_sent_or_kept(workspace: Workspace, tmp_path: Path) -> None:
    leaked = said(SECRET, "I don't know.")  # someone trained on it before: it is no seed
    stored(workspace, [leaked, *SEEDS[:3]])
    path = document(tmp_path, exam(workspace), kind(20, tags={"source": "test"}, examples=("0b5c6f0f3f0d2c11",)))
    written = iter([SECRET, f"Tell me at once: {SECRET}"])

    def answer(number: int, body: Body) -> Answer:
        if "Answer with JSON" not in last(body):
            return writes(number, body)
        return Answer(json.dumps({"instruction": next(written, f"Compare {made_up(str(number))}.")}))

    with endpoint(answer) as served:
        job = queued(workspace, served, "asked", wanted=path, rows=3, endpoint={"concurrency": 1})
        result, rows, left = done(job)
    assert result["dropped"] == {"part of the evaluation": 2}
    assert [fault.message.partition(" ")[0] for fault, _ in left] == ["its", "21"]
    assert all("heron" not in turn.content for row in rows for turn in row.messages)
    first = [body for body in served.asked if "Answer with JSON" in last(body)]
    assert not any(word in asked(body) for body in first for word in ("heron", "0b5c6f0f3f0d2c11", "evaluate-1"))
    assert len(rows) == 3
    notes = [event.text for event in job.events() if hasattr(event, "text")]
    assert "evaluation rows kept out: 1; seeds that hold a part of one and are left aside: 1" in notes


def test_without_a_number_as_many_are_made_as_the_document_suggests(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, SEEDS)
    path = document(tmp_path, exam(workspace), kind(30, tags={"source": "test"}), kind(20, language="German"))
    values = {"method": "asked", "name": "made", "seeds": "set", "wanted": path, "local": str(tmp_path)}
    assert run.settled(workspace, build(SynthesizeConfig, {**values, "rows": 7}, "test")).rows == 7
    assert run.settled(workspace, build(SynthesizeConfig, values, "test")).rows == 50


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.integers(1, 3000))
def test_shares_are_whole_numbers_next_to_the_exact_ones(counts: list[int], rows: int) -> None:
    found = asks.shares(counts, rows)
    assert sum(found) == rows
    assert all(abs(one - rows * count / sum(counts)) < 1 for one, count in zip(found, counts, strict=True))


def test_a_kind_that_cannot_be_asked_for_is_named_with_its_reason(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, SEEDS)
    wanted = [
        kind(40, tags={"source": "test"}),
        kind(20, tags={"task": "haiku"}),
        kind(20, verifier="ifbench", constraint="custom:reverse_newline"),
        kind(20, verifier="ifeval", constraint="punctuation:no_smiles"),
        kind(20, verifier="pattern"),
    ]
    path = document(tmp_path, exam(workspace), *wanted)
    with endpoint(writes) as served:
        result, rows, _ = done(queued(workspace, served, "asked", wanted=path, rows=6))
    first, *others = result["asked"]
    assert (first["asked"], first["kept"], len(rows)) == (2, 2, 2)
    assert [(one["asked"], one["made"], one["kept"]) for one in others] == [(0, 0, 0)] * 4
    assert [one["why"].partition(":")[0] for one in others] == [
        "no training row of set@v1 is of this kind",
        "it is a request of its own, and can't be added to another",
        "ifeval has no such constraint here",
        "no training row of set@v1 is of this kind",
    ]


def test_the_money_ends_all_kinds_and_each_says_so(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, SEEDS)
    path = document(tmp_path, exam(workspace), *[kind(20, tags={"source": "test"})] * 2)
    prices = {"prompt_price": 1e6, "completion_price": 1e6, "concurrency": 1, "max_cost": 500.0}
    with endpoint(lambda n, body: Answer(writes(n, body).content, usage=(20, 20))) as served:
        job = queued(workspace, served, "asked", wanted=path, rows=40, max_tokens=16, endpoint=prices)
        result, rows, _ = done(job)
    first, second = result["asked"]
    assert 0 < first["kept"] == len(rows) < 20
    assert (second["asked"], second["made"], second["kept"]) == (20, 0, 0)
    assert all("max_cost 500 is reached" in one["why"] for one in (first, second))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"wanted": None}, "name its errors.json in wanted"),
        ({"method": "evolve"}, "'evolve' reads neither wanted nor against"),
        ({"wanted": "none.json"}, "none.json: can't be read: No such file"),
        ({"method": "constrain", "wanted": None, "constraint": "length:words"}, "no ifeval instruction 'length:words'"),
        ({"method": "evolve", "wanted": None, "constraint": "x:y"}, "goes with the method 'constrain'"),
        (
            {"method": "constrain", "wanted": None, "families": ["ifbench"], "constraint": "custom:reverse_newline"},
            "is a request of its own",
        ),
    ],
)
def test_settings_of_what_is_asked_for_that_make_no_sense_are_refused(
    workspace: Workspace, tmp_path: Path, update: dict[str, Any], words: str
) -> None:
    stored(workspace, SEEDS)
    path = document(tmp_path, exam(workspace), kind(20, tags={"source": "test"}))
    values = {"method": "asked", "name": "made", "seeds": "set", "wanted": path, "local": str(tmp_path), **update}
    with pytest.raises(HonedError, match=words):
        run.settled(workspace, build(SynthesizeConfig, values, "test"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "errors.json: the document: invalid JSON"),
        (b'{"rows": 3}', "errors.json: model: field required"),
        (b"\xff\x00", "errors.json: the document: invalid JSON"),
        (b"", "errors.json: the document: invalid JSON"),
    ],
)
def test_a_document_that_is_none_is_named(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "errors.json").write_bytes(text)
    with pytest.raises(DataError, match=words) as raised:
        asks.read(tmp_path / "errors.json")
    assert raised.value.hint == "It is what honed errors EVAL writes."
    document(tmp_path, "suite ifeval")
    with pytest.raises(DataError, match="evaluate-1 asks for no rows"):
        asks.read(tmp_path / "errors.json")


def _made(workspace: Workspace, path: str, **update: Any) -> None:
    with endpoint(writes) as served:
        work(queued(workspace, served, "asked", wanted=path, rows=1, **update), lambda: False)
        assert served.asked


def test_rows_are_kept_apart_from_what_was_measured_with_or_not_made(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, SEEDS)
    measured, wanted = exam(workspace), kind(20, tags={"source": "test"})
    other = RowsWanted.model_validate_json(Path(document(tmp_path, measured, wanted)).read_bytes())
    (tmp_path / "errors.json").write_text(other.model_copy(update={"data_hash": "0"}).model_dump_json())
    with pytest.raises(DataError, match="measured another exam@v1 than the one of this workspace"):
        _made(workspace, str(tmp_path / "errors.json"))
    with pytest.raises(HonedError, match="gone"):
        _made(workspace, document(tmp_path, "gone@v1", wanted))
    with pytest.raises(DataError, match="none of its 1 kinds can be asked for; task haiku: no training row of set@v1"):
        _made(workspace, document(tmp_path, measured, kind(20, tags={"task": "haiku"})))
    own = document(tmp_path, "suite ifeval, own", wanted)
    with pytest.raises(DataError, match="measured with the suite 'own', which isn't one of ours"):
        _made(workspace, own)
    suite(tmp_path / "own", ["Explain rivers to a class of 20 pupils."])
    _made(workspace, own, against=(str(tmp_path / "own"),))


def suite(folder: Path, prompts: Sequence[str]) -> None:
    folder.mkdir()
    rows = b"\n".join(orjson.dumps({"id": str(n), "prompt": one}) for n, one in enumerate(prompts))
    (folder / "rows.jsonl").write_bytes(rows)
    (folder / "manifest.json").write_bytes(orjson.dumps({"name": "own", "rows": "rows.jsonl"}))


def test_from_an_evaluation_to_rows_in_one_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from honed.builtin.load import load

    def start(job: Job) -> None:
        job.set_result(work(job, lambda: False))
        job.set_status(job.status().model_copy(update={"state": "done"}))

    monkeypatch.setattr(launch, "start", start)
    held = load("heldout")[:140]
    dataset = stored(workspace, load("train")[:70], held, name="desk")
    skill = {row.tags["task"]: 0.95 for row in held} | {"constrain": 0.1}
    made = evaluation(held, skill, name="m", data=dataset.ref, data_hash=dataset.manifest.hash)
    job = as_job(workspace, made)

    def answer(number: int, _body: Body) -> Answer:
        return Answer(json.dumps({"instruction": "Do it as you like." if number else "no"}))

    with endpoint(answer) as served:
        command = ["data", "synthesize", "asked", "--for", job.id, "--from", "desk", "--as", "more", "--rows", "5"]
        command += ["--workspace", str(workspace.path), "--endpoint", served.url, "--model", "writer"]
        assert cli([*command, "--estimate"]) == 0
        assert capsys.readouterr().out.startswith("for 5 rows about 5 requests")
        assert (job.path / "errors.json").is_file() and not served.asked
        assert cli(command) == 0
        sent = [asked(body) for body in served.asked]
    shown = " ".join(capsys.readouterr().out.split())
    assert "kind of rows by suggested asked made kept" in shown
    assert "benefit specificity, task constrain paraphrase" in shown
    assert "5 15 1 15 tries gave no more: attempts is 3 more@v1: 1 rows of 15 tries" in shown
    (row,) = datasets.rows(artifacts.resolve(workspace, "datasets", "more"), "train")
    assert (row.tags["task"], row.tags["asked"]) == ("constrain", "benefit specificity, task constrain")
    assert row.check is not None and row.check.verifier == "constrain"
    assert sent and not any(json.dumps(row.messages[-2].content) in text for row in held for text in sent)
    assert cli([*command[:2], "evolve", *command[3:]]) == 1
    assert "'evolve' reads neither wanted nor against" in capsys.readouterr().err

"""What synthesis starts from, and what is refused before anything is sent; a writer in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from honed.cli.main import run as cli
from honed.config import build
from honed.data.synthesize import run
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.novel import Novelty
from honed.data.synthesize.passages import files, passages
from honed.data.synthesize.worker import work
from honed.errors import ConfigError, DataError, EndpointError
from honed.models.engine import Sampling
from honed.models.wire import Request
from honed.records import Conversation, Message
from honed.store.workspace import Workspace
from tests.data.curated import stored
from tests.data.synthesized import SEEDS, queued, writes
from tests.loopback import Answer, endpoint


def test_a_model_in_this_process_writes_and_its_replies_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    from honed.data.synthesize import local
    from tests.tiny import tiny_folder

    tiny = str(tiny_folder(tmp_path / "tiny"))
    requests = [Request(messages=(Message(role="user", content=text),), sampling=Sampling(max_tokens=4))
                for text in ("a", "b", "a", "x" * 5000)]  # fmt: skip
    writer = local.LocalWriter(tiny, workspace, "job")
    done = dict(writer.each(requests))
    assert sorted(done) == [0, 1, 2, 3]
    assert done[0] == done[2]
    assert isinstance(done[3], EndpointError)
    assert "the model's context is" in done[3].message
    assert (writer.spent.requests, writer.spent.cached) == (2, 0)
    writer.close()
    again = local.LocalWriter(tiny, workspace, "other")
    assert again.estimate(requests[:3]).cached == 3
    assert dict(again.each(requests[:2]))[0] == done[0].model_copy(update={"cached": True})
    assert dict(again.each([requests[0], _other()], lambda: True)).keys() == {0}
    again.close()


def _other() -> Request:
    return Request(messages=(Message(role="user", content="c"),), sampling=Sampling(max_tokens=4))


def test_the_estimate_says_requests_tokens_and_money_and_sends_nothing(workspace: Workspace) -> None:
    stored(workspace, SEEDS)
    with endpoint(writes) as served:
        config = {"base_url": served.url, "model": "writer", "prompt_price": 1.0, "completion_price": 2.0}
        values = {"method": "evolve", "name": "made", "seeds": "set", "rows": 7, "max_tokens": 100, "endpoint": config}
        found, words = run.estimate(workspace, build(SynthesizeConfig, values, "test"))
    assert (found.requests, found.completion_tokens, served.asked) == (14, 1400, [])
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * 1400) / 1e6)
    assert words.startswith("for 7 rows about 14 requests, ")
    assert f"at most {found.cost:.4f} in money" in words


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"method": "evolve", "seeds": None}, "starts from rows: name a dataset"),
        ({"method": "documents", "seeds": None}, "name files or folders"),
        ({"local": "x"}, "name one writer"),
        ({"endpoint": None}, "name one writer"),
        ({"rows": 0}, "rows"),
        ({"endpoint": {"model": "x"}}, "endpoint.base_url"),
        (
            {"endpoint": {"base_url": "http://127.0.0.1:1/v1", "model": "x", "api_key_env": "NO_SUCH_KEY"}},
            "NO_SUCH_KEY",
        ),
        ({"name": "set"}, "is the dataset of the seeds"),
        ({"method": "constrain", "families": ["ifevil"]}, "there is no instruction named 'ifevil'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_sent(
    workspace: Workspace, update: dict[str, Any], words: str
) -> None:
    stored(workspace, SEEDS)
    endpoint_ = {"base_url": "http://127.0.0.1:1/v1", "model": "x"}
    values = {"method": "self-instruct", "name": "made", "seeds": "set", "endpoint": endpoint_, **update}
    with pytest.raises(ConfigError, match=words):
        run.settled(workspace, build(SynthesizeConfig, values, "test"))


def test_seeds_that_cannot_be_started_from_are_said(workspace: Workspace) -> None:
    turns = (*SEEDS[0].messages, *SEEDS[1].messages)
    stored(workspace, [Conversation(messages=turns)])
    with endpoint(writes) as served:
        with pytest.raises(DataError, match="1 training rows, and none that evolve can start from"):
            work(queued(workspace, served, "evolve"), lambda: False)
        assert served.asked == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.md", b"caf\xe9 " * 30, "not UTF-8 text, from byte 3 on"),
        ("a.txt", b"one\0two " * 30, "NUL bytes"),
        ("a.md", b"too short", "no passage of 20 words"),
        ("a.pdf", b"%PDF", "this is no text document"),
    ],
)
def test_documents_that_cannot_be_read_are_named(
    workspace: Workspace, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with endpoint(writes) as served, pytest.raises(DataError, match=words):
        work(queued(workspace, served, "documents", documents=(str(tmp_path / name),)), lambda: False)


def test_a_document_is_cut_between_paragraphs_under_its_headings(tmp_path: Path) -> None:
    paragraph = " ".join(f"word{number}" for number in range(30)) + "."
    text = f"# A\n\n{paragraph}\n\n{paragraph}\n\n## B\n\n{paragraph} {paragraph}\n\n# C\n\nshort"
    (tmp_path / "a.md").write_text(text)
    (tmp_path / "b.png").write_bytes(b"x")
    (path,) = files([str(tmp_path)])
    found = list(passages(path, 40))
    assert [one.text.partition("\n\n")[0] for one in found] == ["A", "A", "A > B", "A > B"]
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert sum(one.text.count("word7 ") for one in found) == 4
    with pytest.raises(DataError, match="there is no such document"):
        files([str(tmp_path / "none.md")])


def test_novelty_is_the_share_of_runs_ofmade_up() -> None:
    novelty = Novelty(0.5)
    novelty.add("one", "name three ways to save water at home")
    assert novelty.beside("Name three ways to save water at home!") == ("one", 1.0)
    assert novelty.beside("name three ways to save water at work") == ("one", 5 / 7)
    assert novelty.beside("name three ways to cook an egg") is None
    novelty.add("short", "why")
    assert novelty.beside("Why?") == ("short", 1.0)


def test_the_command_says_what_was_made_and_what_was_left_out(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stored(workspace, SEEDS)
    written = iter(['```json\n{"turns": []}\n```', "no"])
    turns = json.dumps({"turns": [{"user": "And then?", "assistant": "Then it is over."}]})
    command = ["data", "synthesize", "continue", "--from", "set", "--as", "made", "--rows", "3"]
    command += ["--workspace", str(workspace.path), "--model", "writer"]
    prices = ["--set", "endpoint.prompt_price=1000", "--set", "endpoint.completion_price=1000"]
    with endpoint(lambda _n, _b: Answer(next(written, turns))) as served:
        command += ["--endpoint", served.url, *prices]
        assert cli([*command, "--estimate", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["estimate"]["requests"] == 3
        assert cli([*command, "--max-cost", "-1"]) == 1
        assert "endpoint.max_cost" in capfd.readouterr().err
        assert served.asked == []
        assert cli(command) == 0
    shown = capfd.readouterr()
    assert "wrong JSON" in shown.out
    assert "no JSON" in shown.out
    assert "made@v1: 3 rows of 5 tries, marked synthetic: continue by writer" in shown.out
    assert "for 3 rows about 3 requests" in shown.err
    assert "6 requests, 0 answered by kept replies; 60 tokens of prompts, 30 of answers; cost 0.0900" in shown.err
    assert cli(["data", "dropped", "made", "--workspace", str(workspace.path)]) == 0
    assert "turns: list should have at least 1 item" in capfd.readouterr().out


def test_a_round_that_mixes_keeps_the_mark() -> None:
    from honed.rounds.mix import Source, mix

    marked = SEEDS[0].model_copy(update={"tags": {"synthetic": "evolve", "generator": "writer"}})
    made = mix(Source("f@v1"), Source("d@v1", [marked, SEEDS[1]]), {}, None)
    assert {row.id: row.tags.get("synthetic") for row in made.rows} == {SEEDS[0].id: "evolve", SEEDS[1].id: None}

"""What can be refused before minutes are spent is refused at once, in words; what is asked for is what runs."""

from __future__ import annotations

import errno
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from honed.cli import main
from honed.config import described
from honed.errors import ConfigError, DataError, HonedError, StoreError
from honed.jobs import job as jobs
from honed.jobs import worker
from honed.jobs.events import Note
from honed.records import Conversation, Message
from honed.store import aliases, datasets
from honed.store.workspace import Workspace, writing
from honed.train import folder, prepare
from honed.train.config import TrainConfig
from honed.train.ranks import ALONE
from tests.house.test_docs import _parse
from tests.train.jobs import finish, settings, start


@pytest.fixture
def tried(home: Workspace) -> list[str]:
    """The jobs that are there before a test: a refusal makes none."""
    return [job.id for job in jobs.listing(home)]


@pytest.mark.parametrize("name", ["MyModel", "Support v2", "-dash", "x" * 65])
def test_a_name_that_no_model_can_have_is_refused_before_a_job_is_made(
    home: Workspace, tried: list[str], name: str
) -> None:
    with pytest.raises(StoreError, match="can't be a name of models"):
        start(home, name=name)
    assert [job.id for job in jobs.listing(home)] == tried


def test_the_names_of_the_embedded_model_and_of_aliases_are_refused(home: Workspace) -> None:
    with pytest.raises(StoreError, match="that of the model that honed brings"):
        start(home, name="smollm2-135m")
    made = finish(start(home, name="for-alias", epochs=0.2))["model"]
    aliases.move(home, "spoken", made, why="a test")
    with pytest.raises(StoreError, match="an alias of this workspace"):
        start(home, name="spoken")


def test_preferences_are_not_taken_for_rows_and_the_way_to_learn_them_is_said(home: Workspace) -> None:
    with pytest.raises(DataError, match="has preferences and no rows") as caught:
        start(home, data="liked-in-part")
    assert "--objective dpo" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "objective", "message", "hint"),
    [
        ("rated-only", "sft", "has ratings and no rows to train on", "Learn its ratings: --objective kto."),
        (
            "rated-only",
            "dpo",
            "has no preferences",
            "Learn its ratings: --objective kto. Preferences come from feedback",
        ),
        ("numbers", "dpo", "has no preferences", "Learn its rows: --objective sft. Preferences come from feedback"),
        ("numbers", "kto", "has neither ratings nor preferences", "answers with a label: honed data import FILE --as"),
        ("held-only", "sft", "has no rows to train on", "Import rows, or hold out fewer"),
    ],
)
def test_data_without_what_the_objective_learns_is_refused_at_once_with_the_objective_that_learns_what_it_has(
    home: Workspace, tried: list[str], data: str, objective: str, message: str, hint: str
) -> None:
    turns = (Message(role="user", content="hi"), Message(role="assistant", content="yes"))
    datasets.write(home, "held-only", [(Conversation(messages=turns), "heldout")], config={}, facts={})
    with pytest.raises(DataError, match=message) as caught:
        start(home, data=data, objective=objective)
    assert hint in caught.value.hint and "honed data import FILE --as NAME" in caught.value.hint
    assert [job.id for job in jobs.listing(home)] == tried


def test_a_file_in_the_place_of_the_data_is_refused_everywhere_with_the_command_that_imports_it(
    home: Workspace, tried: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "support.jsonl").touch()
    for command in (["train"], ["plan"], ["train", "--curve", "8"], ["evaluate", str(home.path.parent / "tiny")]):
        base = [] if command[0] == "evaluate" else ["--base", str(home.path.parent / "tiny")]
        asked = [*command, *base, "--data", str(tmp_path / "support.jsonl"), "--workspace", str(home.path)]
        assert main.run(asked) == 1
        assert f"honed data import {tmp_path / 'support.jsonl'} --as support" in capsys.readouterr().err
    assert [job.id for job in jobs.listing(home)] == tried


def test_data_of_which_no_row_can_be_used_is_told_how_to_mend_the_first_and_how_to_see_it(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    job = jobs.create(home, "train", settings(home, data="long@v1", max_length=100))
    with pytest.raises(DataError, match="none of its 1 training rows can be used") as caught:
        prepare.prepare(job, ALONE)
    assert "max_length" in caught.value.hint and f"See {job.path / 'left_out.jsonl'}" in caught.value.hint
    (command,) = re.findall("honed .*", caught.value.hint)
    _parse(command)
    assert main.run([*shlex.split(command)[1:], "--workspace", str(home.path)]) == 0
    assert "x" * 600 in capsys.readouterr().out
    (listed,) = map(json.loads, (job.path / "left_out.jsonl").read_text().splitlines())
    assert "max_length" in listed["hint"] and listed["begins"] == "x" * 80 and listed["row"] in command


def test_the_best_step_is_not_asked_of_data_that_holds_out_nothing(home: Workspace) -> None:
    with pytest.raises(DataError, match="holds out no rows"):
        start(home, data="long", keep_best=True)


def test_what_is_set_of_adapters_asks_for_them_even_where_it_says_what_the_default_does(home: Workspace) -> None:
    job = start(home, name="sixteen", weights="auto", lora={"rank": 16}, epochs=0.2)
    result = finish(job)
    assert result["ran"]["weights"] == "lora" and result["ran"]["lora_rank"] == 16
    with pytest.raises(ConfigError, match="weights: full makes none"):
        settings(home, weights="full", lora={"rank": 16})


def test_a_jobs_own_file_repeats_it(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    job = start(home, name="repeated", weights="auto", epochs=0.2)
    first = finish(job)
    assert first["ran"]["weights"] == "full"
    assert main.run(["train", str(job.path / "config.yaml"), "--workspace", str(home.path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["ran"]["weights"] == "full" and again["model_hash"] == first["model_hash"]


def test_the_result_says_what_ran(home: Workspace) -> None:
    asked = {"schedule": "linear", "warmup": 0.2, "weight_decay": 0.1, "clip_norm": 0.5, "seed": 3}
    result = finish(start(home, name="told", weights="lora", lora={"dropout": 0.25}, epochs=0.2, **asked))
    assert {key: result["ran"][key] for key in asked} == asked
    assert result["ran"]["average"] is False  # a schedule is set
    assert result["ran"]["lora_dropout"] == 0.25 and result["ran"]["template"] == "the model's own"
    assert Path(result["path"]).is_dir() and Path(result["path"]).parent.name == "told"


def test_a_base_without_a_chat_template_gets_the_plain_one_and_is_told(home: Workspace) -> None:
    bare = home.path.parent / "bare"
    if not bare.exists():
        import shutil

        shutil.copytree(home.path.parent / "tiny", bare)
        (bare / "chat_template.jinja").unlink(missing_ok=True)
        config = json.loads((bare / "tokenizer_config.json").read_text())
        config.pop("chat_template", None)
        (bare / "tokenizer_config.json").write_text(json.dumps(config))
    job = jobs.create(home, "train", settings(home, base=str(bare)))
    found = prepare.prepare(job, ALONE)
    assert prepare.template_of(found.config, found.base.chat) == "plain"
    (told,) = [event.text for event in job.events() if isinstance(event, Note) and "chat template" in event.text]
    assert "'plain'" in told and "chatml" in told


def test_the_docs_and_the_command_list_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    settings = described(TrainConfig)
    table = [f"| `{key}` | {f'`{default}`' if default else ''} | {text} |" for key, default, text in settings]
    assert [line for line in docs.splitlines() if line in table] == table
    assert ("shard", "none") in {(key, default) for key, default, _ in settings}
    assert any(key == "shard" and text.endswith("; one of none, fsdp") for key, _, text in settings)
    assert any(key == "stream" and text.endswith("one of auto, true, false") for key, _, text in settings)
    assert {"lora.rank", "preference.beta"} <= {key for key, _, _ in settings}
    assert all(text for _, _, text in settings)
    assert main.run(["train", "--settings"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:]] == [key for key, _, _ in settings]


def test_a_settings_file_is_named_once(home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: numbers\n")
    for command in ("train", "plan"):
        assert main.run([command, str(file), "--config", str(file), "--workspace", str(home.path)]) == 2
        assert "name one" in capsys.readouterr().err


def test_a_plan_says_why_what_disk_it_takes_and_the_command_that_trains_what_was_planned(
    home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my train.yaml"
    file.write_text(f"base: {home.path.parent / 'tiny'}\ndata: numbers\nbatch_tokens: 100\n")
    asked = [str(file), "--set", "precision=fp32", "--epochs", "0.5"]
    assert main.run(["plan", *asked, "--workspace", str(home.path)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert any(line.startswith("why ") for line in lines) and any(
        "learning_rate 0.0001: usual" in line for line in lines
    )
    assert "makes       tiny-numbers" in lines and "rate        0.0001 at its peak, cosine" in lines
    assert sum(" in 0.5 epochs, " in line for line in lines if line.startswith("tokens ")) == 1
    assert any(line.startswith("disk ") and "GB are free" in line for line in lines)
    assert f"next: honed train '{file}' --epochs 0.5 --set precision=fp32" in said.err
    job = jobs.find(home, "last")
    assert main.run(["jobs", "follow", job.id, "--workspace", str(home.path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == lines[0]  # told as the command that began it does


def test_a_training_that_is_followed_or_resumed_ends_with_the_line_that_it_began_with(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    job = start(home, name="followed", epochs=0.2)
    result = finish(job)
    assert main.run(["jobs", "follow", job.id, "--workspace", str(home.path)]) == 0
    said = capsys.readouterr().err
    assert f"{result['model']}: " in said and f"folder: {result['path']}" in said
    assert f"next: honed evaluate {result['model']} --data numbers@v1" in said


def test_nothing_held_out_is_said_and_means_no_evaluation_on_it_is_advised(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = (Message(role="user", content="hi"), Message(role="assistant", content="yes"))
    datasets.write(home, "all-train", [(Conversation(messages=turns), "train")], config={}, facts={})
    job = start(home, data="all-train", epochs=1, name="unheld")
    finish(job)
    said = [event.text for event in job.events() if isinstance(event, Note) and "no held-out rows" in event.text]
    assert len(said) == 1 and said[0].endswith("honed data import FILE --as NAME --heldout 0.2")
    assert main.run(["jobs", "follow", job.id, "--workspace", str(home.path)]) == 0
    said = capsys.readouterr().err
    assert "next: honed chat unheld@v1" in said and "honed evaluate" not in said


@pytest.mark.parametrize(("free", "ends"), [(10**6, "full"), (10**12, ""), (10, "refused")])
def test_a_disk_that_may_become_full_is_told_of_and_one_without_room_for_the_model_is_refused(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, free: int, ends: str
) -> None:
    job = jobs.create(home, "train", settings(home))
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    found = folder.disk(job.path, model=1000, trained=100_000, keep=2, best=True, average=True)
    assert found.most == 1000 + 100_000 * (16 * 3 + 2 * 4)
    if ends == "refused":
        with pytest.raises(StoreError, match="the model will take"):
            folder.check(job, found)
        return
    folder.check(job, found)
    notes = [event.text for event in job.events() if isinstance(event, Note)]
    assert any("the disk may become full" in note for note in notes) is (ends == "full")


def test_words_for_a_full_disk_and_for_memory_say_how_to_go_on(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home))
    with pytest.raises(HonedError) as caught, writing(job.path):
        raise OSError(errno.ENOSPC, "full")
    message, hint = worker._words(caught.value, job)
    assert "can't be written" in message and f"honed jobs resume {job.id}" in hint
    _, hint = worker._words(MemoryError(), job)
    assert "activation_checkpointing" in hint and "honed plan" in hint
    _, hint = worker._words(MemoryError(), jobs.create(home, "curate", settings(home)))
    assert "pack_tokens" not in hint


def test_a_curves_names_are_those_that_models_can_have(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--base", str(home.path.parent / "tiny"), "--data", "numbers", "--workspace", str(home.path)]
    assert main.run(["train", *given, "--curve", "8,16", "--name", "x" * 62]) == 1
    assert "can't be a name of models" in capsys.readouterr().err


def test_rows_limits_what_is_trained_on(home: Workspace) -> None:
    result = finish(start(home, name="seven", rows=7, epochs=1))
    assert result["rows"] == 7

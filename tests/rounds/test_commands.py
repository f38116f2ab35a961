"""``honed round``, ``promote``, ``rollback`` and ``explain`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from honed.cli import main
from honed.jobs import job as jobs
from honed.store import aliases
from honed.store.workspace import Workspace
from tests.rounds.desk import here, settings, speak

BILLS = [f"Bill {n}: which queue?" for n in range(24)]
Said = pytest.CaptureFixture[str]


def honed(workspace: Workspace, capsys: Said, *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main.run([*args, "--workspace", str(workspace.path)])
    said = capsys.readouterr()
    return code, said.out.replace("\u00a0", " "), said.err


def document(workspace: Workspace, capsys: Said, *args: str) -> dict[str, object]:
    code, out, _ = honed(workspace, capsys, *args, "--json")
    assert code == 0
    return dict(json.loads(out))


def round_file(tmp_path: Path, **values: object) -> str:
    path = tmp_path / "round.yaml"
    path.write_text(yaml.safe_dump(settings(**values)))
    return str(path)


def test_a_round_ends_in_a_table_a_verdict_and_its_reasons(
    quick: Workspace, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    speak(quick, "first@v1", BILLS)
    code, out, err = honed(quick, capsys, "round", "run", round_file(tmp_path))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "Round desk@v1: 24 rows, 24 pairs, 0 ratings from 24 feedback events"
    assert lines[2].split() == ["suite", "must", "rows", "before", "%", "after", "%", "points", "(95", "%)", "p"]
    assert lines[3].split()[:5] == ["bills", "improve", "12", "0", "100"] and lines[3].split()[-3:] == [
        "<",
        "0.001",
        "✓",
    ]
    assert [line.split()[0] for line in lines[4:6]] == ["expert", "novice"]
    assert "Promoted: desk@v1 became live, which was first@v1." in lines
    assert "  Suite bills improved: from 0 % to 100 % of 12 rows" in out and "honed rollback" in lines[-1]
    assert "sft: job train-" in err

    shown = document(quick, capsys, "round", "show", "desk")
    assert (shown["ref"], shown["verdict"], shown["candidate"]) == ("desk@v1", "promoted", "desk@v1")
    listed = document(quick, capsys, "round", "list")
    assert listed == {"rounds": [shown]}
    code, out, _ = honed(quick, capsys, "round", "list")
    assert code == 0 and out.splitlines()[1].split()[:4] == ["desk@v1", "promoted", "first@v1", "desk@v1"]

    code, out, _ = honed(quick, capsys, "rollback")
    assert (code, out.partition(" because")[0]) == (0, "live is first@v1 again; desk@v1 had it")
    code, out, err = honed(quick, capsys, "rollback", "--json")
    assert code == 1 and "named no model before first@v1" in json.loads(out)["error"]["message"]
    assert aliases.target(quick, "live") == "first@v1"


def test_a_held_round_says_why_and_where_live_stays(quick: Workspace, capsys: Said) -> None:
    speak(quick, "first@v1", BILLS, edit="no idea")
    here(quick)
    code, out, _ = honed(quick, capsys, "round", "show", "desk")
    assert code == 0
    assert "Held: live stays first@v1." in out
    assert "is not shown to improve: from 0 % to 0 % of 12 rows" in " ".join(out.split())
    assert out.count("not shown") == 2 and "✗" not in out


def test_a_round_without_feedback_is_held_and_its_document_says_so(
    quick: Workspace, tmp_path: Path, capsys: Said
) -> None:
    made = document(quick, capsys, "round", "run", round_file(tmp_path))
    assert (made["verdict"], made["candidate"], made["suites"]) == ("held", None, [])
    assert made["reasons"] == ["There is no feedback yet, so there was nothing to train on."]
    code, out, _ = honed(quick, capsys, "round", "show", "desk")
    assert code == 0 and "Held: live stays first@v1.\n  There is no feedback yet" in out


def test_there_are_no_rounds_yet(quick: Workspace, capsys: Said) -> None:
    assert document(quick, capsys, "round", "list") == {"rounds": []}
    assert "Run one: honed round run ROUND.yaml" in honed(quick, capsys, "round", "list")[1]


def test_a_malformed_round_is_two_lines_and_starts_nothing(quick: Workspace, tmp_path: Path, capsys: Said) -> None:
    file = round_file(tmp_path, suites=[{"data": "bills", "rol": "keep"}])
    code, out, err = honed(quick, capsys, "round", "run", file)
    assert (code, out) == (1, "")
    assert err == f"error: {file}: unknown key 'suites.0.rol'\n  Did you mean 'role'?\n"
    code, out, err = honed(quick, capsys, "round", "run", round_file(tmp_path), "--set", "gate.alhpa=1", "--json")
    assert code == 1 and json.loads(out)["error"]["hint"] == "Did you mean 'alpha'?"
    assert jobs.listing(quick) == []


def test_a_password_in_the_databases_url_is_never_repeated(quick: Workspace, tmp_path: Path, capsys: Said) -> None:
    url = "postgresql://me:secret@host/db"
    code, _, err = honed(quick, capsys, "round", "run", round_file(tmp_path), "--database", url)
    assert code == 1 and "no password may stand there" in err and "secret" not in err


def test_the_database_of_the_environment_is_kept_by_its_name(
    quick: Workspace, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(quick, "first@v1", BILLS)
    (quick.path / "honed.db").rename(tmp_path / "elsewhere.db")
    monkeypatch.setenv("HONED_DATABASE", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    made = document(quick, capsys, "round", "run", round_file(tmp_path))
    assert made["verdict"] == "promoted"
    (job,) = [one for one in jobs.listing(quick) if one.status().stage == "rounds"]
    assert yaml.safe_load((job.path / "config.yaml").read_text())["database"] == "$HONED_DATABASE"


def test_without_a_live_model_the_way_to_set_it_is_told_and_works(
    quick: Workspace, tmp_path: Path, capsys: Said
) -> None:
    (quick.path / "aliases" / "live.jsonl").unlink()
    code, _, err = honed(quick, capsys, "round", "run", round_file(tmp_path))
    assert code == 1
    assert err.splitlines()[1] == "  Name the one in use: honed promote MODEL --alias live --why 'the first'"
    code, out, _ = honed(quick, capsys, "promote", "first", "--why", "the first")
    assert (code, out) == (0, "live is first@v1.\n")
    moved = document(quick, capsys, "promote", "first", "--alias", "canary", "--why", "to try it")
    assert moved == {"alias": "canary", "before": None, "now": "first@v1", "why": "to try it", "was": "", "gate": ""}


def test_explain_walks_from_the_live_model_to_what_people_said_and_back(
    quick: Workspace, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (event, *_) = speak(quick, "first@v1", ["[red]Bill[/red] 1: <b>which</b> queue?", *BILLS])
    here(quick)
    code, out, _ = honed(quick, capsys, "explain", "live", "--rows", "1")
    assert code == 0
    for part in ("model desk@v1 [live]", "model first@v1", "dataset desk-data@v1", "dataset desk-feedback@v1"):
        assert part in out, part
    assert "'[red]Bill[/red] 1: <b>which</b> queue?' -> 'billing'" in out and f"event {event.id}" in out
    assert out.count("─ row ") == 1
    code, out, _ = honed(quick, capsys, "explain", event.id)
    assert code == 0 and "model desk@v1 [live]" in out and "round desk@v1" in out
    assert document(quick, capsys, "explain", event.id)["kind"] == "event"
    code, out, err = honed(quick, capsys, "explain", "zebra")
    assert (code, out) == (1, "") and "'zebra' is no model" in err

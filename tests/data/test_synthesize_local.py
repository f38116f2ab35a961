"""A job of synthesis whose writer is a model on this machine, from the command to the rows."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from honed.cli.main import run
from honed.data.synthesize.local import LocalWriter
from honed.models.chat import ChatFormat, from_tokenizer
from honed.models.engine import Sampling
from honed.models.wire import Reply, Request
from honed.records import Message
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from tests.data.curated import stored
from tests.data.synthesized import SEEDS
from tests.models.spoken import say
from tests.tiny import END, THINKING, tiny_folder, tiny_model, tiny_tokenizer

ANSWER = "Fine."


def _saying(text: str, path: Path) -> str:
    """Save a tiny model that answers everything with ``text``, in which no letter stands twice; return its folder.

    Layers add nothing to what they are given; each letter's direction is its own, and points to the next one.
    """
    model, tokenizer = tiny_model(tied=False), tiny_tokenizer()
    ids = [*tokenizer(f"\n{text}")["input_ids"], tokenizer.eos_token_id]
    assert len(set(ids)) == len(ids) <= model.config.hidden_size
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for place, (one, following) in enumerate(pairwise(ids)):
            model.model.embed_tokens.weight[one, place] = 1.0
            model.lm_head.weight[following, place] = 100.0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def test_a_model_on_this_machine_writes_rows_that_their_verifier_passes(
    workspace: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored(workspace, SEEDS)
    model = _saying(ANSWER, tmp_path / "model")
    command = ["data", "synthesize", "constrain", "--from", "set", "--local", model, "--rows", "3", "--json"]
    command += ["--set", "constraint=punctuation:no_comma", "--set", "max_tokens=16"]
    command += ["--workspace", str(workspace.path), "--as"]
    assert run([*command, "made"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert (first["dataset"], first["train"], first["dropped"], first["ended"]) == ("made@v1", 3, {}, "")
    assert (first["requests"], first["cached"], first["cost"]) == (3, 0, 0.0)
    made = list(datasets.rows(artifacts.resolve(workspace, "datasets", "made"), "train"))
    assert {row.answer for row in made} == {ANSWER}
    assert {row.tags["synthetic"] for row in made} == {"constrain"}
    assert {row.tags["generator"] for row in made} == {model}
    assert {row.tags["seed"] for row in made} < {row.id for row in SEEDS}
    assert all(row.check is not None and row.check.verifier == "ifeval" for row in made)
    assert all("comma" in row.prompt[-1].content for row in made)

    assert run([*command, "again"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert (again["train"], again["requests"], again["cached"]) == (3, 0, 3)
    assert run([*command[:-3], "--set", "constraint=startend:quotation", *command[-3:], "none"]) == 1
    assert "not one row came of 9 tries: 9 fails its verifier" in capfd.readouterr().err


def test_a_writer_that_reasons_writes_its_answer_alone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, from_tokenizer(tiny_tokenizer(THINKING)), f"<think>\nHm.\n</think>\n\n42{END}")
    request = Request(messages=(Message(role="user", content="6 x 7?"),), sampling=Sampling(max_tokens=64))
    model = str(tiny_folder(tmp_path / "model", template=THINKING))

    def written() -> Reply:
        writer = LocalWriter(model, workspace, "work")
        ((_, reply),) = writer.each([request])
        writer.close()
        assert isinstance(reply, Reply)
        return reply

    with monkeypatch.context() as without:  # a reply that was kept before reasoning was taken from it
        without.setattr(ChatFormat, "thought", None)
        assert written().text.endswith("</think>\n\n42")
    assert [(one.text, one.reasoning, one.cached) for one in (written(), written())] == [
        ("42", "Hm.", False),
        ("42", "Hm.", True),
    ]

"""What is said of a run before it begins, of its data, its model and its machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from honed.errors import ModelError
from honed.jobs import job as jobs
from honed.models import save as saving
from honed.models.chat import Unusable
from honed.records import Conversation, Message
from honed.store.workspace import Workspace
from honed.train import notes, source
from honed.train.prepare import Prepared, prepare
from honed.train.rows import Limit, encode_row
from tests.train.jobs import settings

ROW = Conversation(messages=(Message(role="user", content="a"), Message(role="assistant", content="b")))


def _prepared(home: Workspace, **values: Any) -> Prepared:
    return prepare(jobs.create(home, "train", settings(home, name="noted", **values)))


def test_a_row_of_many_passes_is_told_of_since_it_decides_the_peak(home: Workspace) -> None:
    said = [one for one in notes.of_data(_prepared(home, pack_tokens=10)) if "the longest row" in one]
    assert len(said) == 1 and "and a pass usually 10 at most" in said[0] and "max_length leaves longer" in said[0]
    assert not any("the longest row" in one for one in notes.of_data(_prepared(home, pack_tokens=60)))


def test_marks_that_adapters_can_not_teach_are_told_of(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _prepared(home, weights="lora", template="chatml")
    assert not any("ends answers" in said for said in notes.of_model(run))  # the base ends with that mark itself
    other = replace(run.base.chat, stop_ids=frozenset([258]))
    monkeypatch.setattr(notes.models, "load_chat", lambda *_: other)
    (said,) = (said for said in notes.of_model(run) if "ends answers" in said)
    assert "template chatml ends answers with <|im_end|>" in said and "weights: full" in said
    assert not any("ends answers" in one for one in notes.of_model(replace(run, adapters=None)))


def test_settings_for_sampling_that_are_not_published_are_named(home: Workspace) -> None:
    run = _prepared(home)
    assert not any("sampling" in said for said in notes.of_model(run))
    run.base.model.generation_config.update(temperature=0.6, top_k=20)
    (said,) = (said for said in notes.of_model(run) if "sampling" in said)
    assert "(temperature 0.6, top_k 20) aren't published" in said


def test_gpus_that_stay_idle_are_told_of(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _prepared(home)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert not any("GPUs" in said for said in notes.of_model(run))
    on_card = replace(run, settings=replace(run.settings, device="cuda"))
    assert "4 GPUs are here, and one is used: ranks 0 takes all of them" in notes.of_model(on_card)


def test_rows_with_a_token_that_the_model_has_no_embedding_for_are_left_out_by_name(home: Workspace) -> None:
    chat = _prepared(home).base.chat
    known = Limit(512, known=259)
    assert encode_row(ROW, chat, known).supervised
    with pytest.raises(Unusable, match=r"'<\|im_end\|>' is token 257 of the tokenizer, and .* embeddings for 257"):
        encode_row(ROW, chat, replace(known, known=257))


def test_a_run_knows_how_many_embeddings_its_model_has(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[Limit] = []
    found = source.find
    monkeypatch.setattr(source, "find", lambda *given: limits.append(given[3]) or found(*given))
    _prepared(home)
    assert [limit.known for limit in limits] == [259]


def test_a_chat_format_that_could_not_be_published_ends_a_run_before_it_is_trained(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.create(home, "train", settings(home, name="noted"))
    read = saving.chat_in
    monkeypatch.setattr(saving, "chat_in", lambda folder: replace(read(folder), pad_id=0))
    with pytest.raises(ModelError, match="gives another chat format"):
        prepare(job)
    assert not list(job.path.glob(".chat-*"))

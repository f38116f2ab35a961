"""The training process as a user meets it: equal seeds, bad rows, a full disk, what really ran."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from transformers import BloomConfig, BloomForCausalLM

from honed.errors import HonedError, StoreError
from honed.jobs import launch
from honed.jobs.events import Metric, Note
from honed.jobs.job import Job
from honed.models.engine import Sampling
from honed.models.load import load
from honed.models.local import LocalEngine
from honed.records import Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import checkpoint, worker
from honed.train.kernels import native
from honed.train.loop import NOT_FINITE
from honed.train.optim import Optimizer
from honed.train.prepare import remember
from tests.numerics.rows import packed_model
from tests.small_disk import fill
from tests.tiny import tiny_tokenizer
from tests.train.jobs import finish, losses, start


def test_two_processes_with_one_seed_make_the_same_weights_and_result_names_what_ran(home: Workspace) -> None:
    jobs = [start(home, name=name, weights="lora", lora={"dropout": 0.1}, epochs=1) for name in ("one", "two")]
    one, two = (finish(job) for job in jobs)
    assert one["model_hash"] == two["model_hash"]
    assert one["steps"] >= 10
    ran = one["ran"]
    assert (ran["weights"], ran["precision"], ran["device"], ran["packing"]) == ("lora", "fp32", "cpu", True)
    by = "torch" if native.why_not() else "native"
    counts = {"embedding": "1 of 1", "rms_norm": "5 of 5", "rotary": "2 of 2", "swiglu": "2 of 2"}
    assert ran["kernels"] == {**counts, "elementwise": by}
    assert ran["activation_checkpointing"] is False and ran["freed_memory"]
    assert ran["average"] is False and ran["schedule"] == "cosine"  # too few steps for a mean
    assert (
        ran["freed_memory"].endswith(", in whole blocks") or "GLIBC_TUNABLES" in os.environ or sys.platform != "linux"
    )
    assert ran["head"].endswith("fused") and ran["adapters"] == 14
    assert one["supervised_tokens"] < one["dataset_tokens"]
    loaded = load(one["model"], home)
    assert loaded.chat.hash == one["template_hash"]
    assert loaded.hash == one["model_hash"]


def test_rows_under_one_system_prompt_are_shared_and_rows_that_begin_differently_are_not_and_both_are_said(
    home: Workspace,
) -> None:
    rules = Message(role="system", content="Answer in one word, and never promise a date.")
    for name, system in (("ruled", (rules,)), ("unlike", ())):
        turns = (
            (*system, Message(role="user", content=f"{n}?" * 30), Message(role="assistant", content="yes"))
            for n in range(12)
        )
        rows: list[tuple[Conversation, Split]] = [(Conversation(messages=one), "train") for one in turns]
        datasets.write(home, name, rows, config={}, facts={})
    how = {"pack_tokens": 600, "batch_tokens": 600, "epochs": 1}
    ruled, unlike = (finish(start(home, name=name, data=name, **how)) for name in ("ruled", "unlike"))
    assert ruled["ran"]["sharing"] is True and ruled["computed_tokens"] < 0.8 * ruled["dataset_tokens"]
    assert ruled["ran"]["attention"] in ("fused", "native")  # not by parts, in plain torch
    assert unlike["ran"]["sharing"] is False and unlike["computed_tokens"] == unlike["dataset_tokens"]
    size = unlike["dataset_tokens"]
    assert any(f"sharing is off: of {size} tokens {size} would still be computed" in one for one in unlike["reasons"])


def test_a_row_longer_than_the_context_is_left_out_counted_and_listed(home: Workspace) -> None:
    job = start(home, name="mixed", data="mixed", epochs=1)
    result = finish(job)
    assert result["left_out"] == 1
    assert "too long" in (job.path / "left_out.jsonl").read_text()
    assert any("1 rows are left out" in getattr(event, "text", "") for event in job.events())


def test_a_dataset_without_a_usable_row_fails_in_words(home: Workspace) -> None:
    job = start(home, name="long", data="long")
    for _ in launch.follow(job):
        pass
    status = job.status()
    assert status.state == "failed"
    assert "none of its 1 training rows can be used" in status.message and "512 fit" in status.message
    assert "Traceback" in (job.path / "log.txt").read_text()


def test_an_unknown_dataset_is_refused_before_a_job_is_made(home: Workspace) -> None:
    before = len(list(home.jobs.iterdir()))
    with pytest.raises(StoreError, match="numbrs"):
        start(home, data="numbrs")
    assert len(list(home.jobs.iterdir())) == before


def test_a_loss_that_is_not_a_number_names_its_rows(home: Workspace) -> None:
    job = start(home, name="diverged", learning_rate=1e30, epochs=20)
    for _ in launch.follow(job):
        pass
    status = job.status()
    assert status.state == "failed" and "is not a number; its rows:" in status.message
    mend = f"Write a lower learning_rate (now 1e+30) into {job.path / 'config.yaml'}, then: honed jobs resume {job.id}"
    assert mend in status.hint and "fp32" not in status.hint  # in which it ran
    named = status.message.partition("its rows: ")[2].split(" and ")[0].split(", ")
    listed = (job.path / NOT_FINITE).read_text().split()
    known = {row.id for row in datasets.rows(artifacts.resolve(home, "datasets", "numbers"), "train")}
    assert listed[:8] == named and set(listed) <= known


@pytest.mark.parametrize(
    ("heldout", "said"),
    [
        ((2.0, 1.9, 1.8), None),
        ((2.0, 1.8, 1.81), None),  # the noise of a step
        ((2.0, 1.8, 1.9), "the held-out loss was lowest after step 10, 1.8000, and is 1.9000 in the end: keep_best"),
        ((2.0, 1.8, 2.1), "the held-out loss rose from 2.0000 to 2.1000: lower learning_rate"),
    ],
)
def test_a_held_out_loss_that_ends_above_the_first_or_the_lowest_is_said(
    tmp_path: Path, heldout: tuple[float, ...], said: str | None
) -> None:
    job = Job(tmp_path)
    job.log.write(Metric(name="heldout_loss", value=0.1, step=10))
    job.log.write(Note(text="the training begins anew", anew=True))
    for number, loss in enumerate(heldout):
        job.log.write(Metric(name="heldout_loss", value=loss, step=10 * number))
    worker._note_rise(job, heldout[-1])
    notes = [event.text for event in job.events() if isinstance(event, Note) and not event.anew]
    assert len(notes) == (said is not None) and (said or "") in "".join(notes)


def test_a_resume_where_the_device_of_the_first_attempt_is_missing_says_which_attempt_chose_it(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with pytest.raises(HonedError) as usual:
        worker._device(job, "mps")
    assert usual.value.hint.startswith("Use auto")
    remember(job, device="mps")
    with pytest.raises(HonedError, match=f"the first attempt of job {job.id} ran on mps, and so must this") as told:
        worker._device(job, "mps")
    assert "auto" not in told.value.hint and f"honed train {tmp_path / 'config.yaml'}" in told.value.hint
    assert worker._device(job, "cpu") == "cpu"


def _trained_a_little() -> Optimizer:
    model = packed_model()
    optimizer = Optimizer(list(model.named_parameters()), weight_decay=0.0)
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0 + 1
    optimizer.step(1e-3, 1.0)
    return optimizer


def test_a_full_disk_while_saving_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = _trained_a_little()
    checkpoint.save(tmp_path, 1, optimizer)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_save_tensors", full)
    with pytest.raises(HonedError, match="no space left"):
        checkpoint.save(tmp_path, 2, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.load(tmp_path / "step-00000001", optimizer)["step"] == 1


@pytest.mark.parametrize("room", [0.0, 0.5, 1.0], ids=["none left", "left for half of it", "left for its tensors only"])
def test_a_disk_that_is_really_full_while_saving_leaves_the_last_checkpoint(small_disk: Path, room: float) -> None:
    optimizer, folder = _trained_a_little(), small_disk / "checkpoints"
    first = checkpoint.save(folder, 1, optimizer)
    pages = -(-(first / "state.safetensors").stat().st_size // 4096)
    fill(small_disk, leave=int(room * pages) * 4096)
    with pytest.raises(StoreError, match="no space left on device"):
        checkpoint.save(folder, 2, optimizer)
    assert [path.name for path in folder.iterdir()] == ["step-00000001"]
    assert checkpoint.load(first, optimizer)["step"] == 1


def test_a_model_with_attention_of_its_own_is_trained_in_16_bits_and_what_came_of_it_answers(
    home: Workspace, tmp_path: Path
) -> None:
    config = BloomConfig(vocab_size=259, hidden_size=32, n_layer=2, n_head=4, seq_length=512)
    config.eos_token_id, config.pad_token_id, config.bos_token_id = 257, 258, None
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    tiny_tokenizer().save_pretrained(tmp_path / "bloom")
    job = start(home, name="bloom", base=str(tmp_path / "bloom"), precision="bf16", epochs=1)
    result = finish(job)
    first, *_, last = losses(job).values()
    assert last < first and result["ran"]["packing"] is False
    made = load(result["model"], home)
    (answer,) = LocalEngine(made).generate([[Message(role="user", content="?")]], Sampling(max_tokens=3))
    assert 1 <= answer.tokens <= 3

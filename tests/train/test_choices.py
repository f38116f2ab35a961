"""What a run chooses by looking at model, machine and data; it chooses the same when it is resumed or planned."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BioGptConfig,
    Gemma3TextConfig,
    GPT2Config,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    OPTConfig,
    Qwen2Config,
)

from honed import config as config_file
from honed.errors import ConfigError, HonedError
from honed.evaluate import scoring
from honed.evaluate.config import EvaluateConfig
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.events import Note, Step
from honed.models.chat import Encoded
from honed.records import Conversation, Message, Split
from honed.store import artifacts, datasets
from honed.store.workspace import Workspace
from honed.train import attempts, attention_cuda, layout, neftune, prepare
from honed.train.attention import Segments
from honed.train.config import TrainConfig
from honed.train.defaults import Facts, resolve
from honed.train.kernels.install import checkpoints_layers
from honed.train.loop import Training
from honed.train.objectives.preference import PairObjective
from honed.train.own_attention import Found
from honed.train.ranks import ALONE
from honed.train.reference import Reference
from honed.train.setup import Setup, set_up
from tests.numerics.rows import packed_model
from tests.tiny import tiny_folder
from tests.train.jobs import finish, settings, start


def _worth(config: Any) -> tuple[Any, str]:
    with torch.device("meta"):  # the modules, without memory for their weights
        model = AutoModelForCausalLM.from_config(config)
    return layout._worth(model, [], lambda _table: [], always=False)


def _passes(rows: int, **asked: Any) -> tuple[int, int]:
    """The most passes of a step of some rows of 100 tokens, 50 of them the same in all, and what a pass may have."""
    config = TrainConfig(base="b", data="d", **asked)
    facts = Facts(1000, rows, 100 * rows, 10**10, "cpu", "fp32", "")
    examples = [Encoded((*range(50), *[50 + index] * 50), (0.0,) * 50 + (1.0,) * 50) for index in range(rows)]
    made = layout.choose(packed_model(), examples, config, resolve(config, facts))
    return max(len(step.packs) for step in made.steps), made.settings.pack_tokens


def test_a_step_that_is_not_much_larger_than_a_pass_is_one_where_gradients_take_the_place_of_activations() -> None:
    few = {"batch_tokens": 3000, "weights": "full", "epochs": 1}
    assert _passes(30, **few) == (1, 2 * 896)  # 1,550 tokens, for the prefix is computed once
    assert _passes(30, **few, sharing=False)[0] > 2 and _passes(30, **few, sharing=False)[1] == 896
    assert _passes(16, **few, sharing=False) == (1, 2 * 896)
    assert _passes(8, **few) == (1, 896)  # it needn't be asked
    assert _passes(60, batch_tokens=6000, weights="full", epochs=1)[1] == 896  # 3,050 are too many
    assert _passes(30, **few, pack_tokens=896) == (2, 896)  # as asked
    assert _passes(30, **few, ranks=2) == (2, 896)  # one for each
    assert _passes(30, **{**few, "weights": "lora"}) == (2, 896)  # hardly any gradients to make room for
    assert _passes(16, **few, neftune_alpha=5.0) == (2, 896)  # other passes, other noise


def test_a_resume_has_the_passes_of_the_first_attempt_whatever_its_ranks(home: Workspace) -> None:
    rows: list[tuple[Conversation, Split]] = [
        (
            Conversation(messages=(Message(role="user", content=f"{n}?"), Message(role="assistant", content="y" * 75))),
            "train",
        )
        for n in range(16)
    ]
    datasets.write(home, "longer", rows, config={}, facts={})
    job = start(home, data="longer", pack_tokens=None, batch_tokens=2000, sharing=False, epochs=1, eval_rows=0)
    assert finish(job)["ran"]["pack_tokens"] == 2 * 896
    asked = []
    for pinned, ranks in ((True, 1), (True, 2), (False, 1), (None, 1), (None, 2)):
        prepared = prepare.prepare(job, ALONE)
        config = prepared.config.model_copy(update={"ranks": ranks, "pack_tokens": None})
        made = layout.choose(prepared.base.model, prepared.train.encoded, config, prepared.settings, pinned)
        asked.append(made.one_pass)
    assert asked == [True, True, False, True, False]
    assert attempts.chosen(job)["one_pass"] is True and attempts.chosen(job)["pack_tokens"] == 896


def test_rows_that_fit_into_adapters_get_them_and_a_resume_keeps_what_was_counted_then_unless_its_file_says_it(
    home: Workspace, tmp_path: Path
) -> None:
    left_open = {"weights": "auto", "learning_rate": None, "batch_tokens": None}
    asked = {"base": str(tiny_folder(tmp_path / "wide", hidden=288)), "epochs": 120, **left_open}
    job = jobs.create(home, "train", settings(home, **asked))
    first = prepare.prepare(job, ALONE).settings
    assert (first.weights, first.learning_rate, first.batch_tokens) == ("lora", pytest.approx(1e-3), 1024)
    assert any("fit into the" in reason for reason in first.reasons)
    counted = {"learning_rate": 5e-4, "batch_tokens": 128}
    attempts.remember(job, **counted)
    again = prepare.prepare(job, ALONE).settings
    assert {name: getattr(again, name) for name in counted} == counted
    assert again.weights == "lora" and again.reasons == first.reasons
    config_file.save(settings(home, **{**asked, "learning_rate": 1e-5}), job.path / "config.yaml")
    third = prepare.prepare(job, ALONE).settings
    assert {name: getattr(third, name) for name in counted} == {**counted, "learning_rate": 1e-5}
    assert attempts.chosen(job)["learning_rate"] == 5e-4


def test_every_rank_has_a_pass_where_noise_allows_it_and_a_resume_on_others_has_the_same_passes(
    home: Workspace,
) -> None:
    asked = {"batch_tokens": 600, "pack_tokens": None, "epochs": 1, "eval_rows": 0}
    job = jobs.create(home, "train", settings(home, ranks=2, **asked))
    ready = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False)
    most = [step for step in ready.layout.steps if len(step.packs) >= 2]
    assert len(most) > len(ready.layout.steps) / 2
    assert any("so that a step has a pass for each of 2 ranks" in reason for reason in ready.reasons)
    for ranks in (1, 3):
        config_file.save(settings(home, ranks=ranks, **asked), job.path / "config.yaml")
        again = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False)
        assert again.layout.steps == ready.layout.steps
    assert again.heldout.pack_tokens == ready.heldout.pack_tokens == ready.layout.settings.pack_tokens < 600
    noisy = settings(home, ranks=2, weights="lora", lora={"dropout": 0.1}, **asked)
    other = set_up(prepare.prepare(jobs.create(home, "train", noisy), ALONE), ALONE, lambda: False)
    assert {len(step.packs) for step in other.layout.steps} == {1}
    assert any("which then wait: lower pack_tokens" in reason for reason in other.reasons)


def test_a_resume_on_ranks_reads_the_references_of_the_first_attempt(home: Workspace) -> None:
    asked = {"objective": "dpo", "data": "liked", "batch_tokens": 600, "pack_tokens": None, "epochs": 1, "eval_rows": 0}
    job = jobs.create(home, "train", settings(home, ranks=2, seed=5, **asked))
    for _ in range(2):
        ready = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False)
        assert ready.layout.settings.pack_tokens < 600  # for each of 2 ranks
    ended = [event for event in job.events() if isinstance(event, Step) and event.stage == "reference"]
    assert sum(event.step == event.total for event in ended) <= 1
    assert sum("are read from" in event.text for event in job.events() if isinstance(event, Note)) >= 1


def test_single_long_rows_are_not_cut_into_passes_for_ranks_and_the_ranks_are_told_to_wait(home: Workspace) -> None:
    talks = [(Message(role="user", content=f"{n}?"), Message(role="assistant", content="y" * 400)) for n in range(8)]
    datasets.write(home, "longest", ((Conversation(messages=talk), "train") for talk in talks), config={}, facts={})
    asked = {"batch_tokens": 420, "pack_tokens": None, "epochs": 1, "eval_rows": 0, "sharing": False}
    ready = _set_up(home, data="longest", ranks=2, **asked)
    assert not any("so that a step has a pass" in reason for reason in ready.reasons)
    assert any("which then wait" in reason for reason in ready.reasons)


def _set_up(home: Workspace, **asked: Any) -> Setup:
    job = jobs.create(home, "train", settings(home, **asked))
    return set_up(prepare.prepare(job, ALONE), ALONE, lambda: False, to_train=False)


def test_where_a_long_row_would_change_the_positions_of_others_all_that_makes_passes_knows_it(
    home: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, factors = tiny_folder(tmp_path / "far"), {"short_factor": [1.0] * 4, "long_factor": [9.0] * 4}
    far = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64, **factors}
    plain = LlamaConfig.from_pretrained(folder).to_diff_dict()
    LlamaConfig(**{**plain, "rope_parameters": far}).save_pretrained(folder)
    seen: list[Reference] = []
    monkeypatch.setattr(Reference, "attach", lambda self, _placed, examples, *_: seen.append(self) or examples)
    job = jobs.create(home, "train", settings(home, base=str(folder), data="liked", objective="dpo", pack_tokens=90))
    ready = set_up(prepare.prepare(job, ALONE), ALONE, lambda: False)
    assert isinstance(ready.objective, PairObjective)
    assert [ready.objective.within, seen[0].within, seen[0].pack_tokens, ready.heldout.pack_tokens] == [64] * 4


def test_layers_are_computed_again_and_noise_is_added_where_that_was_asked_for_and_the_result_looks_there(
    home: Workspace,
) -> None:
    for asked in (False, True):
        model = _set_up(home, activation_checkpointing=asked, neftune_alpha=5.0 if asked else 0.0).placed.model
        assert checkpoints_layers(model) is asked and neftune.added(model) == (5.0 if asked else 0.0)
        calls: list[object] = []
        model.base_model.layers[0].mlp.register_forward_pre_hook(lambda module, *_, seen=calls: seen.append(module))
        model.train()
        ids = torch.arange(6)[None]
        given = {"input_ids": ids, "position_ids": ids, "use_cache": False}
        first, other = (model.base_model(**given, segments=Segments((6,))).last_hidden_state for _ in range(2))
        assert bool(torch.equal(first, other)) is not asked
        before = len(calls)
        first.sum().backward()
        assert len(calls) - before == (1 if asked else 0)
    told = finish(start(home, name="wired", activation_checkpointing=True, neftune_alpha=5.0, epochs=0.5))["ran"]
    assert (told["activation_checkpointing"], told["neftune_alpha"]) == (True, 5.0)


@pytest.mark.parametrize("name", ["attn_pdrop", "resid_pdrop", "embd_pdrop"])
def test_a_model_with_dropout_of_any_name_shares_no_prefix(name: str) -> None:
    none = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    assert "has dropout" in _worth(GPT2Config(**{**none, name: 0.1}))[1]
    assert "has dropout" in _worth(LlamaConfig(attention_dropout=0.1))[1]
    assert "has dropout" in _worth(OPTConfig())[1] and "has dropout" in _worth(BioGptConfig())[1]
    assert "has dropout or jitter" in _worth(MixtralConfig(router_jitter_noise=0.1))[1]


def test_flash_attention_for_rows_of_varying_length_refuses_rows_that_share_a_prefix() -> None:
    q = torch.zeros(1, 1, 6, 4)
    with pytest.raises(AssertionError, match="share a prefix"):
        attention_cuda.by_varlen(q, q, q, Segments((2, 2, 2), (-1, 0, 0)), 1.0)


OURS, UNTOLD, OWN = (Found(True, True), Found(True, False), Found(False, False))


@pytest.mark.parametrize(
    ("config", "found", "window"),
    [
        (LlamaConfig(), UNTOLD, None),
        (MistralConfig(sliding_window=64), UNTOLD, 64),
        (MistralConfig(sliding_window=64), OURS, None),  # told by the layers: computed as it is
        (MistralConfig(sliding_window=64), OWN, None),  # the model's own masks know it
        (MistralConfig(sliding_window=None), UNTOLD, None),
        (Qwen2Config(sliding_window=64, use_sliding_window=False), UNTOLD, None),
        (Qwen2Config(sliding_window=64, use_sliding_window=True, max_window_layers=0), UNTOLD, 64),
        (Gemma3TextConfig(sliding_window=64, num_hidden_layers=6), UNTOLD, 64),  # five layers of six slide
        (Gemma3TextConfig(sliding_window=64, num_hidden_layers=2, layer_types=["full_attention"] * 2), UNTOLD, None),
        (Llama4TextConfig(attention_chunk_size=64, num_hidden_layers=4), OURS, 64),
        (Llama4TextConfig(attention_chunk_size=64, num_hidden_layers=4), OWN, None),
    ],
)
def test_a_window_limits_rows_only_where_our_attention_is_not_told_of_it(
    config: Any, found: Found, window: int | None
) -> None:
    assert prepare._window(config, found) == (window or prepare._NO_WINDOW)


@pytest.mark.parametrize(
    ("window", "max_length", "tokens", "kind"),
    [(64, None, 64, "longer than the window"), (64, 50, 50, "too long"), (None, 99_999, 512, "too long")],
)
def test_what_limits_a_row_is_named(window: int | None, max_length: int | None, tokens: int, kind: str) -> None:
    model = SimpleNamespace(
        config=MistralConfig(sliding_window=window), get_input_embeddings=lambda: torch.nn.Embedding(99, 1)
    )
    base: Any = SimpleNamespace(context=512, model=model)
    limit = prepare._limit(TrainConfig(base="b", data="d", max_length=max_length), base, UNTOLD)
    assert (limit.tokens, limit.kind, limit.known) == (tokens, kind, 99)
    assert ("Raise max_length" in limit.hint) == (max_length == 50)


def test_rows_longer_than_a_sliding_window_are_trained_on(home: Workspace) -> None:
    folder = tiny_folder(home.path.parent / "sliding", context=1024)
    config = MistralConfig(**{**LlamaConfig.from_pretrained(folder).to_diff_dict(), "sliding_window": 256})
    MistralForCausalLM(config).save_pretrained(folder)
    job = start(home, base=str(folder), name="sliding", data="mixed", epochs=1)
    assert finish(job)["left_out"] == 0


def test_rows_longer_than_a_window_that_nobody_tells_of_are_left_out_and_the_window_is_named(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(home.path.parent / "untold")
    config = MistralConfig(**{**LlamaConfig.from_pretrained(folder).to_diff_dict(), "sliding_window": 256})
    MistralForCausalLM(config).save_pretrained(folder)
    monkeypatch.setattr(prepare, "_compared", lambda *_: UNTOLD)
    job = jobs.create(home, "train", settings(home, base=str(folder), data="mixed", epochs=1))
    (listed,) = prepare.prepare(job, ALONE).train.left_out
    assert listed["kind"] == "longer than the window" and "at most 256 fit: layers of this model" in listed["message"]


def test_memory_and_shares_are_those_of_the_runs_ranks_also_where_one_process_plans_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare.devices, "hardware", lambda _path: SimpleNamespace(memory_free=1200))
    given: dict[str, Any] = {"base": "b", "data": "d"}
    assert prepare.free_memory(TrainConfig(**given)) == 1200
    assert prepare.free_memory(TrainConfig(**given, ranks=3)) == 400
    assert prepare.free_memory(TrainConfig(**given, ranks=3, on="ray")) == 400  # a Ray of this machine's own
    assert prepare.free_memory(TrainConfig(**given, ranks=3, on="ray://there:10001")) == 1200
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert prepare.free_memory(TrainConfig(**given, ranks=4)) == 600


def test_precision_that_is_left_open_is_the_one_that_was_measured_faster_and_the_measurement_is_told(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        monkeypatch.setattr(prepare.devices, "faster_precision", lambda _, name=name: (name, f"{name} was faster"))
        run = prepare.prepare(jobs.create(home, "train", settings(home, name=f"{name}-measured", precision="auto")))
        assert run.base.model.dtype == dtype and run.settings.precision == name
        assert f"precision {name}: {name} was faster" in run.settings.reasons


def test_the_seed_alone_decides_rows_and_adapters(home: Workspace) -> None:
    made = []
    for number, seed in enumerate((7, 7, 8)):
        job = jobs.create(home, "train", settings(home, name="seeded", weights="lora", seed=seed))
        run = prepare.prepare(job)
        torch.manual_seed(number)
        ready = set_up(run, ALONE, lambda: False)
        first = next(p for name, p in run.base.model.named_parameters() if name.endswith("lora_A"))
        made.append((first.detach().clone(), [step.packs for step in ready.layout.steps]))
    (one, rows), (same, same_rows), (other, other_rows) = made
    assert torch.equal(one, same) and rows == same_rows
    assert not torch.equal(one, other) and rows != other_rows


def test_a_run_on_a_cpu_does_not_say_that_it_offloads_to_it(home: Workspace) -> None:
    result = finish(start(home, name="offloaded", shard="fsdp", cpu_offload=True, epochs=0.25))
    assert result["ran"]["placement"] == "fsdp"


def test_whatever_is_set_of_adapters_asks_for_adapters(home: Workspace) -> None:
    assert finish(start(home, name="set", weights="auto", lora={"rank": 3}, epochs=0.2))["ran"]["weights"] == "lora"
    with pytest.raises(ConfigError, match="weights: full makes none"):
        settings(home, weights="full", lora={"rank": 3})


def test_keep_best_without_a_held_out_row_that_can_be_measured_is_refused(home: Workspace) -> None:
    job = jobs.create(home, "train", settings(home, data="liked-in-part", objective="dpo", keep_best=True))
    with pytest.raises(ConfigError, match="no held-out row that can be measured"):
        prepare.prepare(job, ALONE)


def test_the_held_out_loss_is_of_rows_from_all_over_a_mix_the_same_for_every_seed_and_in_evaluations(
    home: Workspace,
) -> None:
    def row(text: str) -> Conversation:
        return Conversation(messages=(Message(role="user", content=text), Message(role="assistant", content="y")))

    parts = {name: [row(f"{name} {number}") for number in range(100)] for name in ("a", "b")}
    held: list[tuple[Conversation, Split]] = [(one, "heldout") for name in parts for one in parts[name]]  # as mixed
    mixed = datasets.write(home, "mix", [*held, (row("c"), "train")], config={}, facts={})
    measured = []
    for seed in (0, 7):
        job = jobs.create(home, "train", settings(home, data="mix", seed=seed, eval_rows=20))
        measured.append(prepare.prepare(job, ALONE).heldout.names)
    assert len(measured[0]) == 20 and measured[0] == measured[1]
    assert all(5 <= len(set(measured[0]) & {one.id for one in parts[name]}) <= 15 for name in parts)
    chosen, _ = scoring.choose(datasets.rows(mixed, "heldout"), 20, EvaluateConfig(model="m", data="mix").seed)
    assert measured[0] == tuple(one.id for one in chosen)


def test_held_out_rows_that_have_no_part_in_the_loss_are_said(home: Workspace) -> None:
    job = start(home, name="short", max_length=50, epochs=0.2, eval_rows=10)
    finish(job)
    said = [event.text for event in job.events() if hasattr(event, "text")]
    assert any("of 6 held-out rows have no part in the loss of this run; row " in text for text in said)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_held_out_loss_that_is_not_a_number_ends_the_run_and_fp32_is_advised_where_it_did_not_run(
    home: Workspace, precision: str
) -> None:
    job = jobs.create(home, "train", settings(home, name="nan"))
    heldout: Any = SimpleNamespace(loss=lambda _placed: float("nan"))
    nothing: Any = None
    alone: Any = SimpleNamespace(ranks=ALONE)
    ran: Any = SimpleNamespace(learning_rate=0.1, precision=precision)
    training: Training[Any, Any] = Training(alone, nothing, heldout, nothing, ran, job, lambda: False)
    with pytest.raises(HonedError, match="held-out loss before the first step is not a number") as first:
        training._evaluate()
    assert "base model's weights" in first.value.hint and "learning_rate" not in first.value.hint
    training.done = 3
    with pytest.raises(HonedError, match="held-out loss after step 3 is not a number") as later:
        training._evaluate()
    path = job.path / "config.yaml"
    mend = f"Write a lower learning_rate (now 0.1) into {path}, then: honed jobs resume {job.id}"
    assert later.value.hint.startswith(mend)
    assert ("fp32" in first.value.hint) is ("fp32" in later.value.hint) is (precision != "fp32")


def test_a_resumed_run_gives_the_reasons_of_its_first_attempt_and_its_model_the_settings_as_asked(
    home: Workspace,
) -> None:
    long: dict[str, Any] = {"epochs": 40, "batch_tokens": 600, "pack_tokens": 600, "checkpoint_every": 20}
    job = start(home, name="reasons", weights="auto", precision="auto", **long)
    for event in launch.follow(job):
        if getattr(event, "stage", "") == "train":
            break
    launch.stop(job)
    assert job.status().state == "stopped"
    first = json.loads((job.path / attempts.CHOSEN).read_text())["reasons"]
    launch.resume(job)
    result = finish(job)
    assert result["reasons"][: len(first)] == first and not any("as it was set" in reason for reason in first)
    made = artifacts.resolve(home, "models", result["model"])
    assert (made.manifest.config["weights"], made.manifest.config["precision"]) == ("auto", "auto")

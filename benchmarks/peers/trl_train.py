"""TRL on given rows, in one of the ways that it can be set up; the way is the caller's, so that the best can be found.

    python trl_train.py --model FOLDER --rows FILE.json --objective sft|dpo --weights full|lora --way JSON

FILE.json of --rows holds what TRL's trainers read ("prompt", "completion"; "prompt", "chosen", "rejected"). --way
is an object with the keys of ``Way``. --heldout holds {"ids", "weights"} a row; its loss is measured every
--eval-every steps, outside of the seconds. Prints one JSON document. Needs trl, peft and datasets.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # honed, of which nothing else is loaded
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from honed.jobs import memory
from measure.heldout import heldout_loss


@dataclass(frozen=True)
class Way:
    """How TRL is set up.

    A pass has ``batch`` rows (packed: packs) of ``length`` tokens at most, a step ``accumulate`` passes.
    ``precision`` is fp32, bf16 (autocast over fp32 weights) or bf16-weights; ``grouped`` puts rows of like length
    together; ``precompute`` takes DPO's reference from a pass before training; ``attention`` is transformers' name;
    ``checkpointing`` computes layers again in the backward pass, which TRL does unless it is told not to.
    """

    length: int
    batch: int
    accumulate: int = 1
    packing: bool = False
    precision: str = "fp32"
    grouped: bool = False
    precompute: bool = False
    liger: bool = False
    attention: str = "sdpa"
    checkpointing: bool = False


class Clock(TrainerCallback):
    """Ends of steps and held-out losses, on a clock that stands still while the loss is measured."""

    def __init__(self, heldout: list[dict[str, Any]], every: int) -> None:
        self.heldout, self.every = heldout, every
        self.start, self.outside = 0.0, 0.0
        self.ends: list[float] = []
        self.curve: list[tuple[float, float]] = []

    def now(self) -> float:
        """Seconds of training so far."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - self.start - self.outside

    def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
        """Measure the base."""
        self._measure(model)

    def on_step_end(self, _args: Any, state: Any, _control: Any, *, model: Any, **_: Any) -> None:
        """Note the time, and the loss when it is due."""
        self.ends.append(self.now())
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._measure(model)

    def _measure(self, model: Any) -> None:
        if not self.heldout:
            return
        seconds = self.now()
        training = model.training
        model.eval()
        self.curve.append((seconds, heldout_loss(model, self.heldout)))
        model.train(training)
        self.outside += self.now() - seconds


def main() -> None:
    """Train one epoch and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", required=True, type=Path)
    parser.add_argument("--objective", choices=["sft", "dpo"], required=True)
    parser.add_argument("--weights", choices=["full", "lora"], required=True)
    parser.add_argument("--way", required=True, help="JSON")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--heldout", type=Path)
    parser.add_argument("--eval-every", type=int, default=1)
    options = parser.parse_args()
    heldout = json.loads(options.heldout.read_text()) if options.heldout else []
    clock = Clock(heldout, options.eval_every)
    built = time.perf_counter()
    trainer, reference = _trainer(options, Way(**json.loads(options.way)))
    trainer.add_callback(clock)
    built = time.perf_counter() - built
    clock.start = time.perf_counter()
    trainer.train()
    seconds = clock.now() + reference
    peak = memory.peak()
    document = {
        "seconds": seconds,
        "reference_seconds": reference,
        "built_seconds": built,
        "step_seconds": [end - start for start, end in zip([0.0, *clock.ends], clock.ends, strict=False)],
        "peak_bytes": peak,
        "peak_device_bytes": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "heldout": clock.curve,
        "threads": torch.get_num_threads(),
        "versions": {name: metadata.version(name) for name in ("trl", "torch", "transformers", "peft")},
    }
    print(json.dumps(document))


def _trainer(options: argparse.Namespace, way: Way) -> tuple[Any, float]:
    """Return the trainer, and the seconds that it took for the reference while it was built."""
    os.environ["TQDM_DISABLE"] = "1"
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.unk_token or tokenizer.pad_token
    weights = torch.bfloat16 if way.precision == "bf16-weights" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=weights, attn_implementation=way.attention)
    shared = {
        "model": model.to("cuda") if torch.cuda.is_available() else model,
        "train_dataset": Dataset.from_list(json.loads(options.rows.read_text())),
        "processing_class": tokenizer,
        "peft_config": LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
        if options.weights == "lora"
        else None,
    }
    if options.objective == "sft":
        sft = SFTConfig(packing=way.packing, **_common(options, way))
        return SFTTrainer(args=sft, **shared), 0.0
    took: list[float] = []

    class Timed(DPOTrainer):
        def _precompute_ref_logps(self, *args: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            found = super()._precompute_ref_logps(*args, **keywords)
            took.append(time.perf_counter() - start)
            return found

    dpo = DPOConfig(precompute_ref_log_probs=way.precompute, beta=0.1, **_common(options, way))
    trainer = Timed(args=dpo, **shared)
    assert bool(took) == way.precompute, "TRL computes its reference elsewhere now: it would not be counted"
    return trainer, sum(took)


def _common(options: argparse.Namespace, way: Way) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(prefix="trl-"),
        "num_train_epochs": 1,
        "max_length": way.length,
        "per_device_train_batch_size": way.batch,
        "gradient_accumulation_steps": way.accumulate,
        "train_sampling_strategy": "group_by_length" if way.grouped else "random",
        "learning_rate": options.learning_rate,
        "bf16": way.precision != "fp32",
        "use_cpu": not torch.cuda.is_available(),
        "use_liger_kernel": way.liger,
        "gradient_checkpointing": way.checkpointing,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
    }


if __name__ == "__main__":
    main()

"""TRL's SFT on the same rows, tuned as far as it goes on this machine: packed, in the precision given.

    python trl_sft.py --model FOLDER --rows FILE.json --weights full|lora --precision fp32|bf16 --batch-tokens 2048

FILE.json holds a list of [user, assistant] texts. Prints one JSON document. Needs trl, peft and datasets.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

LENGTH = 1024


def main() -> None:
    """Train one epoch and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", required=True, type=Path)
    parser.add_argument("--weights", choices=["full", "lora"], required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16"], required=True)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.unk_token or tokenizer.pad_token
    rows = [
        {"prompt": [{"role": "user", "content": user}], "completion": [{"role": "assistant", "content": answer}]}
        for user, answer in json.loads(options.rows.read_text())
    ]
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        packing=True,
        max_length=LENGTH,
        per_device_train_batch_size=max(1, options.batch_tokens // LENGTH),
        learning_rate=options.learning_rate,
        bf16=options.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear") if options.weights == "lora" else None
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            }
        )
    )


if __name__ == "__main__":
    main()

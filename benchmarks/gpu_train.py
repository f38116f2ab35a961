"""Training on a CUDA card: Llama-shaped models of 1B and 8B weights, made at random, LoRA and full, bf16, beside TRL.

    python benchmarks/gpu_train.py [--models 1b,8b] [--weights lora,full] [--rows 256] [--length 1024] --json
    python benchmarks/gpu_train.py --models 8b --weights full --set shard=fsdp --set activation_checkpointing=true
    python benchmarks/gpu_train.py --tiny       # the same on the CPU with a toy, to see that it runs

Nothing is downloaded: the weights are random, the tokenizer knows bytes. Rows are all of one length, so that every
step is as much work as the next and the first --warm-up steps (compiling, the allocator's growth) can be left out
of both programs' times. A second case puts the rows under one system prompt of half their length (--prefix). TRL
runs packed in bf16, with Liger's kernels and with flash attention where these are installed; its fastest way counts.
MFU is 6 N D / s (LoRA: 4 N D / s) over the card's stated dense bf16 rate, or the measured one where it isn't known; N
counts the decoder's and the head's matrices, D the tokens that were computed. ``gemm_share`` is by the exact count
(attention in, head at supervised tokens only) over the measured rate. Memory is what the whole card has in use at
most while a program runs, less what it had before, for both alike.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from honed.errors import HonedError
from honed.models.chat import ChatFormat, shipped_template
from honed.models.load import load_chat
from honed.records import Conversation
from measure import data, flops, gemm, honed_job, peer
from measure.surroundings import emit, say, surroundings

SIZES = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8},
}
"""Llama 3.2 1B and Llama 3.1 8B, each with 8 key-value heads."""

VOCABULARY = {"1b": 128256, "8b": 128256, "tiny": 512}
STATED = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
    "L4": 121e12, "4090": 165e12,
}  # fmt: skip
"""Dense bf16 FLOP/s by the makers' data sheets, by the words that the card's name contains; the first counts."""

RANK = 16


@dataclass(frozen=True)
class Card:
    """What is trained on: the device, its precision, its stated FLOP/s, and the bytes in use before anything runs."""

    device: str
    name: str
    precision: str
    stated: float | None
    idle: int = 0


@dataclass
class Memory:
    """The most that the card had in use while it was watched, in bytes, less what it had at the start."""

    peak: int | None = field(default=None)


def main() -> None:
    """Measure every point and print one document; without a CUDA card, say so and exit 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="1b,8b")
    parser.add_argument("--weights", default="lora,full")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--length", type=int, default=1024, help="tokens of every row")
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--warm-up", type=int, default=3, help="steps left out of the times")
    parser.add_argument("--cases", default="plain,prefix")
    parser.add_argument("--prefix", type=float, default=0.5, help="share of a row that the system prompt is")
    parser.add_argument("--ways", default="", help="only those of TRL's ways whose name has this in it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of honed's training")
    parser.add_argument("--points", type=Path, help="append each point to this file as it is measured")
    parser.add_argument("--peer-python")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="a toy model on the CPU")
    parser.add_argument("--json", action="store_true", help="the document on one line")
    options = parser.parse_args()
    if options.tiny:
        options.models, options.rows, options.length, options.batch_tokens, options.warm_up = "tiny", 8, 256, 512, 1
    card = find_card(options.tiny)
    if card is None:
        print("There is no CUDA card here, so there is nothing to measure.", file=sys.stderr)
        print("  To see that the script runs: python benchmarks/gpu_train.py --tiny", file=sys.stderr)
        sys.exit(2)
    emit(measure(card, options), compact=options.json)


def find_card(tiny: bool) -> Card | None:
    """Return the first CUDA card, for ``tiny`` the CPU, or None."""
    import torch

    if tiny:
        return Card("cpu", "cpu", "fp32", None)
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name(0)
    words = set(re.split(r"[ -]", name))
    stated = next((rate for part, rate in STATED.items() if words >= set(part.split())), None)
    return Card("cuda", name, "bf16", stated, _in_use())


def measure(card: Card, options: argparse.Namespace) -> dict[str, Any]:
    """Return the document: a point for each model, way of training and case."""
    python: str | None = None
    missing: str | None = "not asked for"
    if not options.no_peer:
        try:
            python, missing = peer.interpreter(options.peer_python), None
        except peer.PeerError as error:
            missing = str(error)
    points = []
    for size in options.models.split(","):
        with tempfile.TemporaryDirectory(prefix="honed-benchmark-") as temporary:
            folder = Path(temporary)
            model = make_model(size, folder / "model", context=max(2048, 2 * options.length))
            shape = flops.shape_of(model)
            ceiling = gemm.ceilings(shape, precision=card.precision, tokens=8192, device=card.device)
            for weights in options.weights.split(","):
                for case in options.cases.split(","):
                    point = _point(folder / f"{weights}-{case}", model, (weights, case), (card, python), options)
                    points.append({"model": size, **_rates(point, shape, weights, card, ceiling), "gemm": ceiling})
                    if options.points:  # what is measured stays, should the time run out
                        with options.points.open("a") as file:
                            file.write(json.dumps(points[-1]) + "\n")
                    shutil.rmtree(folder / f"{weights}-{case}", ignore_errors=True)  # each leaves a model
    return {"card": card.name, "stated_flops": card.stated, "points": points, "peer_missing": missing, **surroundings()}


def make_model(size: str, folder: Path, context: int) -> Path:
    """Write a random Llama of that size in bf16 (tiny: fp32) with a tokenizer of bytes, and return its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        **SIZES[size],
        num_key_value_heads=8,
        vocab_size=VOCABULARY[size],
        max_position_embeddings=context,
        tie_word_embeddings=size == "1b",
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    say(f"Making a random {size} ...")
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if size == "tiny" else torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() and size != "tiny" else "cpu"):  # minutes, on a CPU
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer() -> Any:
    """Return a tokenizer of 256 bytes and the special tokens of ChatML, made in the process."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={symbol: number for number, symbol in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    inner.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=special[1], pad_token=special[2])
    tokenizer.chat_template = shipped_template("chatml")
    return tokenizer


def _point(
    folder: Path, model: Path, what: tuple[str, str], where: tuple[Card, str | None], options: argparse.Namespace
) -> dict[str, Any]:
    """Train with both programs; what can't be trained (out of memory, say) is in the document with its words."""
    (weights, case), (card, python) = what, where
    chat = load_chat(str(model), None)

    rows = rows_of(chat, options.rows, options.length, options.prefix if case == "prefix" else 0.0)
    encoded = [chat.encode(row) for row in rows]
    lengths = [len(row.ids) for row in encoded]
    point: dict[str, Any] = {"weights": weights, "case": case, "rows": len(rows), "dataset_tokens": sum(lengths)}
    values: dict[str, Any] = {
        "base": str(model),
        "weights": weights,
        "precision": card.precision,
        "device": card.device,
    }
    values |= {"batch_tokens": options.batch_tokens, "learning_rate": 1e-5, **honed_job.given(options.set)}
    try:
        with watched(card) as memory:
            run = honed_job.train(folder / "honed", rows, values)
        ours = {**run.document(), "step_seconds": run.step_seconds, "peak_device_bytes": memory.peak}
        work = flops.work_of([(len(row.ids), row.supervised) for row in encoded])
        point["work"] = flops.shared(work, run.computed_tokens, [row.ids for row in encoded])
    except HonedError as error:
        ours = {"failed": error.message}
    point["honed"] = _steady(ours, sum(lengths), options.warm_up)
    point["peers"] = {}
    for name, way in (_ways(lengths, weights, card, python, options) if python else {}).items():
        more = ("--objective", "sft", "--weights", weights)
        try:
            with watched(card) as memory:
                theirs = peer.train(str(python), folder / name, model, peer.sft_rows(rows), way, *more)
            theirs["peak_device_bytes"] = memory.peak
        except peer.PeerError as error:
            theirs = {"failed": str(error)}
        point["peers"][name] = _steady(theirs, sum(lengths), options.warm_up)
    return point


def rows_of(chat: ChatFormat, count: int, length: int, prefix: float) -> list[Conversation]:
    """Return rows of about ``length`` tokens, of which a system prompt that all begin with has the share ``prefix``."""
    prompt = round(prefix * length)
    rows = data.sized(count, length - prompt, lambda row: len(chat.encode(row).ids))
    return data.under_system(rows, prompt, lambda text: len(chat.tokenizer(text)["input_ids"])) if prompt else rows


def _ways(
    lengths: Sequence[int], weights: str, card: Card, python: str | None, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """TRL's ways on a card: rows of one length need no packing; Liger and flash attention where they are installed.

    Weights are in fp32 under autocast, as honed keeps fp32 masters, and for LoRA, whose base is frozen, in bf16 too.
    """
    batch = max(1, round(options.batch_tokens / max(lengths)))
    way = {"length": max(lengths), "batch": batch}
    if card.device == "cpu":
        return {"fp32": {**way, "precision": "fp32"}}
    ways = {"bf16": {**way, "precision": "bf16"}}
    if weights == "lora":
        ways["bf16-weights"] = {**way, "precision": "bf16-weights"}
    if _has(python, "liger_kernel"):
        ways |= {f"{name}, liger": {**one, "liger": True} for name, one in ways.items()}
    if _has(python, "flash_attn"):
        flash = {"packing": True, "attention": "flash_attention_2"}
        ways |= {f"{name}, flash": {**one, **flash} for name, one in ways.items()}
    return {name: one for name, one in peer.alike(ways, honed_job.given(options.set)).items() if options.ways in name}


def _has(python: str | None, module: str) -> bool:
    if python == sys.executable:
        return find_spec(module) is not None
    return subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def _steady(run: dict[str, Any], tokens: int, warm_up: int) -> dict[str, Any]:
    """Add tokens per second of the steps after the first ``warm_up``; every step has the same share of the tokens."""
    if "failed" in run:
        return run
    steps = run["step_seconds"]
    kept = steps[warm_up:] if len(steps) > warm_up else steps
    return {**run, "tokens_per_second": tokens * len(kept) / len(steps) / sum(kept), "steady_steps": len(kept)}


def _rates(
    point: dict[str, Any], shape: flops.Shape, weights: str, card: Card, ceiling: dict[str, Any]
) -> dict[str, Any]:
    """Add honed's MFU, its share of the measured ceiling, the fastest peer and the ratio to it."""
    ours, work = point["honed"], point.pop("work", None)
    if work is not None:
        per_second = ours["tokens_per_second"] / point["dataset_tokens"]  # of the whole epoch
        each = 6 if weights == "full" else 4
        nominal = each * (shape.decoder + shape.head) * work.tokens * per_second
        exact = flops.training(shape, work, rank=RANK if weights == "lora" else None) * per_second
        point["mfu"] = nominal / (card.stated or ceiling["square"])
        point["gemm_share"] = exact / ceiling["square"]
    whole = {name: run for name, run in point["peers"].items() if "failed" not in run}
    best = max(whole, key=lambda name: whole[name]["tokens_per_second"], default=None)
    point["peer"] = best and {"name": best, **whole[best]}
    point["ratio"] = ours["tokens_per_second"] / whole[best]["tokens_per_second"] if best and work is not None else None
    return point


@contextmanager
def watched(card: Card) -> Iterator[Memory]:
    """Watch the card's memory while the body runs; on the CPU nothing is watched."""
    memory = Memory()
    if card.device != "cuda":
        yield memory
        return
    import torch

    torch.cuda.empty_cache()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            memory.peak = max(memory.peak or 0, _in_use() - card.idle)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()


def _in_use() -> int:
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(total - free)


if __name__ == "__main__":
    main()

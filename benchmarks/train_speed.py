"""Training speed of honed and of TRL on the same rows and the same machine, one after the other.

    python benchmarks/train_speed.py --case sft|lora|prefix|dpo --rows 32 --json

Cases: sft (full weights), lora (rank 16 on every linear layer), prefix (sft under one 300-token system prompt), dpo
(LoRA, the reference's passes counted on both sides). Rows come from --data, else from alpaca_en_demo.json (dpo:
dpo_en_demo.json) in $HONED_DATA or ../shared/data, else they are synthetic and as long. TRL runs in --peer-python,
else $HONED_PEER_PYTHON, else this interpreter, else a venv that is made in honed's cache; if all fail, honed runs
alone and ``peer_missing`` says why. TRL is tried in several ways (``peers``); the fastest counts. Dataset tokens
count every token of every row once, so that shared or skipped work shows as a higher rate, never as fewer tokens.
Seconds are those of training, model in memory, rows as tokens; for DPO they include the reference.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.models.chat import ChatFormat, Encoded
from honed.models.load import load_chat, locate
from honed.records import Conversation, Preference
from measure import data, flops, gemm, honed_job, peer
from measure.surroundings import emit, say, surroundings

SYSTEM_TOKENS = 300
RATE = 1e-5
RANK = 16


@dataclass(frozen=True)
class Case:
    """The rows of a case, as text and as tokens (two a preference), and how they are trained on."""

    name: str
    source: str
    rows: list[Conversation]
    preferences: list[Preference]
    encoded: list[Encoded]

    @property
    def weights(self) -> str:
        """What is trained."""
        return "lora" if self.name in ("lora", "dpo") else "full"

    @property
    def objective(self) -> str:
        """What is learned."""
        return "dpo" if self.name == "dpo" else "sft"

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row."""
        return [len(row.ids) for row in self.encoded]


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["sft", "lora", "prefix", "dpo"], required=True)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--data", type=Path, help="Alpaca rows, or LLaMA-Factory's preference rows")
    parser.add_argument("--model", default="smollm2-135m", help="as in `honed train --base`")
    parser.add_argument("--batch-tokens", type=int, help="of a step: 2048, and 8192 of prefix, whose rows share one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of honed's training")
    parser.add_argument("--repeats", type=int, default=1, help="honed and the best peer, in turns; medians count")
    parser.add_argument("--peer-python")
    parser.add_argument("--no-peer", action="store_true", help="measure honed alone")
    parser.add_argument("--ways", help="only the peer's ways whose names contain this")
    parser.add_argument("--no-plain", action="store_true", help="don't train again in the plain way to compare losses")
    parser.add_argument("--json", action="store_true", help="the document on one line")
    options = parser.parse_args()
    options.batch_tokens = options.batch_tokens or (8192 if options.case == "prefix" else 2048)
    emit(measure(options), compact=options.json)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the document."""
    case = build_case(options, load_chat(options.model, None))
    model = locate(options.model, None).folder
    shape = flops.shape_of(model)
    rates = {precision: gemm.rate(512, 1024, 1024, precision=precision, seconds=0.5) for precision in ("fp32", "bf16")}
    with tempfile.TemporaryDirectory(prefix="honed-benchmark-") as temporary:
        folder = Path(temporary)
        before = _ceilings(shape, rates)
        runs = [_honed(folder / "honed-1", case, options)]
        peers, left_out, missing = _peers(folder, case, model, rates, options)
        best = min(peers, key=lambda name: peers[name]["seconds"], default=None)
        for repeat in range(2, options.repeats + 1):
            runs.append(_honed(folder / f"honed-{repeat}", case, options))
            if best:
                again = _peer(folder / f"peer-{repeat}", case, model, peers[best]["way"], options)
                peers[best].setdefault("all_seconds", [peers[best]["seconds"]]).append(again["seconds"])
        after = _ceilings(shape, rates)
        plain = None if options.no_plain else _plain(folder / "plain", case, runs[0], options)
    tokens = sum(case.lengths)
    ours = _median(runs)
    theirs = peers[best] if best else None
    if theirs and "all_seconds" in theirs:
        theirs["seconds"] = statistics.median(theirs["all_seconds"])
    for one in (ours, *peers.values()):
        one["tokens_per_second"] = tokens / one["seconds"]
    return {
        "case": case.name,
        "rows": len(case.preferences) or len(case.rows),
        "data": case.source,
        "model": options.model,
        "dataset_tokens": tokens,
        "honed": ours,
        "peer": theirs and {"name": f"TRL {theirs['versions']['trl']}, {best}", **theirs},
        "ratio": theirs and ours["tokens_per_second"] / theirs["tokens_per_second"],
        "peak_ratio": theirs and ours["peak_bytes"] / theirs["peak_bytes"],
        **_shares(case, shape, ours, before, after),
        "plain": plain,
        "peers": peers,
        "peers_left_out": left_out,
        "peer_missing": missing,
        **surroundings(),
    }


def build_case(options: argparse.Namespace, chat: ChatFormat) -> Case:
    """Read or make the rows, and encode them."""
    if options.case == "dpo":
        preferences, source = data.preferences(options.rows, options.data)
        sides = [one.row(answer) for one in preferences for answer in (one.chosen, one.rejected)]
        return Case("dpo", source, [], preferences, [chat.encode(row) for row in sides])
    rows, source = data.conversations(options.rows, options.data)
    if options.case == "prefix":
        rows = data.under_system(rows, SYSTEM_TOKENS, lambda text: len(chat.tokenizer(text)["input_ids"]))
    return Case(options.case, source, rows, [], [chat.encode(row) for row in rows])


def _values(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "base": options.model,
        "objective": case.objective,
        "weights": case.weights,
        "batch_tokens": options.batch_tokens,
        "learning_rate": RATE,
        **honed_job.given(options.set),
    }


def _honed(folder: Path, case: Case, options: argparse.Namespace) -> honed_job.Trained:
    run = honed_job.train(folder, case.rows, _values(case, options), preferences=case.preferences)
    say(f"honed: {run.seconds:.1f} s, {sum(case.lengths) / run.seconds:.1f} tokens/s")
    return run


def _median(runs: Sequence[honed_job.Trained]) -> dict[str, Any]:
    """The document of the run next to the median, with the median seconds (of two the mean) and those of all."""
    seconds = [run.seconds for run in runs]
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    return {**middle.document(), "seconds": statistics.median(seconds), "all_seconds": seconds}


def _plain(folder: Path, case: Case, fast: honed_job.Trained, options: argparse.Namespace) -> dict[str, Any]:
    """Train once more without any of the fast paths, and compare the losses step by step."""
    values = {**_values(case, options), **honed_job.PLAIN}
    run = honed_job.train(folder, case.rows, values, preferences=case.preferences)
    apart = [abs(a - b) for a, b in zip(fast.losses, run.losses, strict=False)]
    return {
        "settings": dict(honed_job.PLAIN),
        "losses": list(run.losses),
        "seconds": run.seconds,
        "peak_bytes": run.result["peak_rss_bytes"],
        "max_abs_difference": max(apart) if len(fast.losses) == len(run.losses) else None,
    }


def _peers(
    folder: Path, case: Case, model: Path, rates: dict[str, float], options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, str], str | None]:
    """Return what each way of the peer took, the ways left out with their reasons, and why there is no peer, if so."""
    if options.no_peer:
        return {}, {}, "not asked for"
    ways = peer.dpo_ways(case.lengths) if case.objective == "dpo" else peer.sft_ways(case.lengths, options.batch_tokens)
    tried, left_out = peer.in_precisions(peer.alike(ways, _values(case, options)), rates, case.weights)
    try:
        python = peer.interpreter(options.peer_python)
    except peer.PeerError as error:
        return {}, left_out, str(error)
    options.peer_python = python
    found: dict[str, Any] = {}
    for number, (name, way) in enumerate(tried.items()):
        if options.ways and options.ways not in name:
            left_out[name] = "not asked for"
            continue
        try:
            found[name] = _peer(folder / f"way-{number}", case, model, way, options)
        except peer.PeerError as error:
            left_out[name] = str(error)
            continue
        say(f"TRL, {name}: {found[name]['seconds']:.1f} s, {sum(case.lengths) / found[name]['seconds']:.1f} tokens/s")
    return found, left_out, None if found else next(iter(left_out.values()), "no way was tried")


def _peer(folder: Path, case: Case, model: Path, way: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    rows = peer.dpo_rows(case.preferences) if case.objective == "dpo" else peer.sft_rows(case.rows)
    more = ("--objective", case.objective, "--weights", case.weights, "--learning-rate", str(RATE))
    return peer.train(options.peer_python, folder, model, rows, way, *more)


def _ceilings(shape: flops.Shape, rates: dict[str, float]) -> dict[str, Any]:
    tokens = peer.LENGTH
    both = ["fp32", "bf16"] if rates["bf16"] >= peer.WORTH_TRYING * rates["fp32"] else ["fp32"]
    return {precision: gemm.ceilings(shape, precision=precision, tokens=tokens) for precision in both}


def _shares(
    case: Case, shape: flops.Shape, ours: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """How much of the machine's ceiling honed's run came to: the work of the tokens that it computed, by arithmetic.

    The higher of the two ceilings of squares counts, so that a machine that was slower for a while flatters nobody.
    """
    work = flops.work_of([(len(row.ids), row.supervised) for row in case.encoded])
    computed = flops.shared(work, ours["computed_tokens"], [row.ids for row in case.encoded])
    rank, reference = (RANK if case.weights == "lora" else None), case.objective == "dpo"
    done = flops.training(shape, computed, rank=rank, reference=reference)
    whole = flops.training(shape, work, rank=rank, reference=reference)
    precision = ours["ran"]["precision"]
    first, last = before.get(precision), after.get(precision)
    if first is None or last is None:
        return {"gemm_share": None, "gemm": {"before": before, "after": after}}
    ceiling = max(first["square"], last["square"])
    light = sum(case.lengths) * ceiling / whole
    return {
        "gemm_share": done / ours["seconds"] / ceiling,
        "gemm_share_before": done / ours["seconds"] / first["square"],
        "gemm_share_after": done / ours["seconds"] / last["square"],
        "gemm_share_of_model_shapes": done / ours["seconds"] / max(first["model"], last["model"]),
        "speed_of_light": {"tokens_per_second": light, "share": ours["tokens_per_second"] / light},
        "flop": {"formula": flops.FORMULA, "computed_tokens": done, "all_tokens": whole},
        "gemm": {"before": before, "after": after},
    }


if __name__ == "__main__":
    main()

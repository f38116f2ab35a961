"""Minutes of training until a held-out loss is reached: the one that TRL's best of three learning rates ends at.

    python benchmarks/time_to_quality.py --rows 300 --json

Rows come from --data, else from dolly_3k.json in $HONED_DATA or ../shared/data, else they are synthetic. Every
tenth is held out and seen by neither program's training. TRL trains for one epoch at each of --peer-rates; the
lowest loss at an epoch's end is the target. honed trains once with its defaults, or what --set says. Both log
(seconds, held-out loss); seconds are those of training, with evaluation, loading and saving left out. The loss is
nats per supervised token on the same token ids. TRL's is computed by measure/heldout.py, honed's by its own job;
``same_measure`` holds both of the same weights side by side. A run of TRL on thousands of rows takes hours: --peers
keeps each as it ends, and those kept aren't run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from honed.models import load as models
from honed.models.chat import ChatFormat, Encoded, Unusable
from honed.records import Conversation
from measure import data, honed_job, peer
from measure.heldout import heldout_loss
from measure.surroundings import emit, say, surroundings


@dataclass(frozen=True)
class Split:
    """The rows: those to train on, those held out (and these as ids), and how many were too long."""

    source: str
    train: list[Conversation]
    heldout: list[Conversation]
    heldout_ids: list[Encoded]
    lengths: list[int]
    left_out: int


def main() -> None:
    """Measure and print one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=300, help="how many of the file's rows, the held-out tenth included"
    )
    parser.add_argument("--data", type=Path, help="rows in the shape of Alpaca's; by default those of Dolly")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--weights", choices=["full", "lora"], default="full", help="TRL's; honed's is a setting")
    parser.add_argument("--max-length", type=int, default=peer.LENGTH, help="longer rows are left out on both sides")
    parser.add_argument("--evaluations", type=int, default=8, help="held-out losses in an epoch, about")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="of TRL's step; honed's is a setting")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of honed's training")
    parser.add_argument("--peer-rates", default="3e-5,1e-4,3e-4")
    parser.add_argument(
        "--way", default="packed", help="how TRL is set up: packed, padded, or as train_speed.py names it"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="TRL's; honed measures its own")
    parser.add_argument("--peers", type=Path, help="keep TRL's runs in this file; a rate that it has isn't run again")
    parser.add_argument("--peer-python")
    parser.add_argument("--json", action="store_true", help="the document on one line")
    options = parser.parse_args()
    emit(measure(options), compact=options.json)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the document."""
    split = build_split(options, models.load_chat(options.model, None))
    with tempfile.TemporaryDirectory(prefix="honed-benchmark-") as temporary:
        folder = Path(temporary)
        peers, missing = _peers(folder, split, options)
        ours, same = _honed(folder / "honed", split, options)
    if peers and same:
        same["base_by_peer"] = next(iter(peers.values()))["heldout"][0][1]
    best = min(peers, key=lambda rate: peers[rate]["heldout"][-1][1], default=None)
    target = peers[best]["heldout"][-1][1] if best else None
    theirs = reached(peers[best]["heldout"], target) if best else None
    seconds = reached(ours["heldout"], target)
    return {
        "data": split.source,
        "model": options.model,
        "peer_weights": options.weights,
        "rows": len(split.train),
        "heldout_rows": len(split.heldout),
        "left_out": split.left_out,
        "train_tokens": sum(split.lengths),
        "target": {"loss": target, "rate": best},
        "honed": {**ours, "minutes": None if seconds is None else seconds / 60},
        "peer": best and {**peers[best], "rate": best, "minutes": None if theirs is None else theirs / 60},
        "ratio": theirs / seconds if theirs and seconds else None,
        "same_measure": same,
        "peers": peers,
        "peer_missing": missing,
        **surroundings(),
    }


def reached(curve: Sequence[Sequence[float]], target: float | None) -> float | None:
    """Return the seconds at the first measurement that is at or under ``target``; None if none is."""
    return next((seconds for seconds, loss in curve if target is not None and loss <= target), None)


def build_split(options: argparse.Namespace, chat: ChatFormat) -> Split:
    """Read or make the rows and hold out every tenth; those that can't be used or are too long are left out first."""
    rows, source = data.conversations(options.rows, options.data, data.DOLLY_FILE)
    usable: list[tuple[Conversation, Encoded]] = []
    for row in rows:
        try:
            encoded = chat.encode(row)
        except Unusable:
            continue
        if len(encoded.ids) <= options.max_length:
            usable.append((row, encoded))
    held = usable[9::10]
    train = [pair for place, pair in enumerate(usable) if place % 10 != 9]
    return Split(
        source=source,
        train=[row for row, _ in train],
        heldout=[row for row, _ in held],
        heldout_ids=[encoded for _, encoded in held],
        lengths=[len(encoded.ids) for _, encoded in train],
        left_out=len(rows) - len(usable),
    )


def _honed(folder: Path, split: Split, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, float]]:
    """Train, and measure the base and the trained model with the peer's function too."""
    given = honed_job.given(options.set)
    steps = max(1, round(sum(split.lengths) / given.get("batch_tokens", options.batch_tokens)))
    values = {"base": options.model, "eval_rows": len(split.heldout)}
    values |= {"eval_every": max(1, steps // options.evaluations), "max_length": options.max_length, **given}
    run = honed_job.train(folder, split.train, values, heldout=split.heldout)
    curve = honed_job.curve(run.job.events())
    say(f"honed: {run.seconds:.0f} s, held-out loss {curve[0][1]:.4f} -> {curve[-1][1]:.4f}")
    loaded = models.load(run.result["model"], run.job.workspace)
    same = {
        "base_by_honed": curve[0][1],
        "trained_by_honed": curve[-1][1],
        "trained_by_peer": heldout_loss(loaded.model, [asdict(row) for row in split.heldout_ids]),
    }
    return {**run.document(), "settings": given, "reasons": run.result["reasons"], "heldout": curve}, same


def _peers(folder: Path, split: Split, options: argparse.Namespace) -> tuple[dict[str, Any], str | None]:
    """Return what TRL did at each rate, those kept included, and why the others can't be run."""
    way = {**peer.sft_ways(split.lengths, options.batch_tokens)[options.way], "precision": options.precision}
    steps = max(1, round(sum(split.lengths) / options.batch_tokens))
    rows = peer.sft_rows(split.train)
    heldout = folder / "heldout.json"
    heldout.write_text(json.dumps([asdict(row) for row in split.heldout_ids]))
    more = ["--objective", "sft", "--weights", options.weights, "--heldout", str(heldout)]
    more += ["--eval-every", str(max(1, steps // options.evaluations))]
    model = models.locate(options.model, None).folder
    kept = Kept.of(split, options, way)
    try:
        for rate in options.peer_rates.split(","):
            if rate in kept.runs:
                say(f"TRL at {rate} is kept in {options.peers}")
                continue
            python = peer.interpreter(options.peer_python)
            run = peer.train(python, folder / f"peer-{rate}", model, rows, way, *more, "--learning-rate", rate)
            begun = run["heldout"][0][0]  # honed's clock starts at the first step too
            run["heldout"] = [(seconds - begun, loss) for seconds, loss in run["heldout"]]
            say(f"TRL at {rate}: {run['seconds']:.0f} s, {run['heldout'][0][1]:.4f} -> {run['heldout'][-1][1]:.4f}")
            kept.add(rate, {**run, **surroundings()})
    except peer.PeerError as error:
        return kept.runs, str(error)
    return kept.runs, None


@dataclass(frozen=True)
class Kept:
    """TRL's runs by rate, in a file if one is named; ``setting`` is what all of them have in common."""

    file: Path | None
    setting: dict[str, Any]
    runs: dict[str, Any]

    @classmethod
    def of(cls, split: Split, options: argparse.Namespace, way: Mapping[str, Any]) -> Kept:
        """Read the file. Runs of another setting are refused: they can't be compared."""
        ids = hashlib.sha256(json.dumps([asdict(row) for row in split.heldout_ids]).encode()).hexdigest()
        setting = {"data": split.source, "rows": len(split.train), "train_tokens": sum(split.lengths)}
        setting |= {"heldout": ids, "model": options.model, "weights": options.weights, "way": dict(way)}
        if options.peers is None or not options.peers.exists():
            return cls(options.peers, setting, {})
        known = json.loads(options.peers.read_text())
        if known["setting"] != setting:
            raise SystemExit(f"{options.peers} holds runs of {known['setting']}; these would be of {setting}.")
        return cls(options.peers, setting, known["runs"])

    def add(self, rate: str, run: dict[str, Any]) -> None:
        """Keep a run, on disk at once."""
        self.runs[rate] = run
        if self.file is not None:
            self.file.write_text(json.dumps({"setting": self.setting, "runs": self.runs}))


if __name__ == "__main__":
    main()

"""Planted pairs: how often the gate promotes models whose true difference is known, beside an unpaired z-test.

    python benchmarks/gate_power.py --json > benchmarks/results/gate.json      # some minutes on one core

Each repetition draws the verdicts of two simulated models on the same rows. Rows differ in how hard they are: the
latent skill of both models on a row shares a normal part, with correlation ``rho``, so they tend to pass the same rows.
The base passes half of the rows; the candidate that, plus the true difference. Three questions: is a candidate promoted
on a suite that it must improve (false at a difference of 0 or less), does a guarded suite let it through (false at a
fall of the margin, 5 points), and does an unpaired two-proportion z-test, of the same one-sided level, call it better.
In some cells rows come in families of five, on which the candidate is better or worse together: McNemar's test, which
takes each row for evidence of its own, stands beside the gate there.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from honed.evaluate import stats
from honed.evaluate.gate import GateConfig, Measured, judge
from honed.evaluate.segment import Judged, segment
from honed.evaluate.stats import Pairs
from measure import surroundings

GATE = GateConfig()
DIFFERENCES = (-0.05, 0.0, 0.05)
ROWS = (100, 200, 500, 1000)
CORRELATIONS = (0.0, 0.5, 0.9)
FAMILY = 5
BASE = 0.5


def main() -> None:
    """Run the simulation that the command line asks for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="planted pairs in each cell (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn verdicts (default: 0)")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sizes of the suite")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else, on stdout")
    options = parser.parse_args()
    plan = [(n, rho, 1) for n in options.rows for rho in CORRELATIONS]
    plan += [(n, 0.5, FAMILY) for n in options.rows]
    cells = []
    for n, rho, family in plan:
        for difference in DIFFERENCES:
            cells.append(cell(Planted(n, rho, difference, family), options.repetitions, options.seed))
            if not options.json:
                print(cells[-1], flush=True)
    if options.json:
        what = {"alpha": GATE.alpha, "margin": GATE.margin, "base": BASE, "repetitions": options.repetitions}
        print(json.dumps({**what, "seed": options.seed, "cells": cells, **surroundings.surroundings()}, indent=1))


class Planted(NamedTuple):
    """Two models on ``rows`` rows in families of ``family``, ``difference`` apart in truth."""

    rows: int
    rho: float
    difference: float
    family: int

    def draw(self, random: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the verdicts of the base and of the candidate; families share half of what is the candidate's own."""
        hard = np.sqrt(self.rho) * random.normal(size=self.rows)
        own = random.normal(size=(2, self.rows))
        if self.family > 1:
            shared = np.repeat(random.normal(size=-(-self.rows // self.family)), self.family)[: self.rows]
            own[1] = np.sqrt(0.5) * own[1] + np.sqrt(0.5) * shared
        skill = hard + np.sqrt(1 - self.rho) * own
        return skill[0] < ndtri(BASE), skill[1] < ndtri(BASE + self.difference)


def cell(planted: Planted, repetitions: int, seed: int) -> dict[str, Any]:
    """Return the shares of planted pairs that each rule lets through."""
    random = np.random.default_rng(
        [seed, planted.rows, round(100 * planted.rho), round(100 + 100 * planted.difference)]
    )
    seen = {"improve": 0, "keep": 0, "reject": 0, "mcnemar": 0, "unpaired_z": 0, "differing": 0.0}
    for _ in range(repetitions):
        before, after = planted.draw(random)
        counts = stats.count(before.tolist(), after.tolist())
        improve, keep = gated(counts) if planted.family == 1 else by_family(before, after, planted.family)
        seen["improve"] += improve == "promote"
        seen["reject"] += improve == "reject"
        seen["keep"] += keep == "promote"
        seen["mcnemar"] += stats.mcnemar(counts.won, counts.lost, "greater") < GATE.alpha
        seen["unpaired_z"] += z_test(counts) < GATE.alpha
        seen["differing"] += (counts.won + counts.lost) / counts.n
    return {**planted._asdict(), **{name: round(count / repetitions, 4) for name, count in seen.items()}}


@cache
def gated(counts: Pairs) -> tuple[str, str]:
    """Return the gate's verdicts on a suite with these counts that must improve, and that must not fall."""
    fates = [(True, True), (False, True), (True, False), (False, False)]
    verdicts = [fate for fate, count in zip(fates, counts, strict=True) for _ in range(count)]
    return verdict_of([judged(*verdict, str(place)) for place, verdict in enumerate(verdicts)])


def by_family(before: NDArray[np.bool_], after: NDArray[np.bool_], family: int) -> tuple[str, str]:
    """The same for rows in families, which lie side by side."""
    pairs = enumerate(zip(before.tolist(), after.tolist(), strict=True))
    return verdict_of([judged(one, two, str(place // family)) for place, (one, two) in pairs])


def judged(before: bool, after: bool, family: str) -> Judged:
    """A row as the comparison hands it on."""
    return Judged(before, after, before, after, {"constant": False, "echo": False}, family)


def verdict_of(rows: list[Judged]) -> tuple[str, str]:
    """Ask the gate twice: on a suite that must improve, and on one that must not fall."""
    whole = segment("all", rows)
    one, two = (
        judge([Measured("planted", "planted", role, GATE.margin, whole)], GATE).verdict for role in ("improve", "keep")
    )
    return one, two


def z_test(counts: Pairs) -> float:
    """Return the one-sided p-value of two independent proportions, with the pooled variance."""
    pooled = (counts.first + counts.second) / (2 * counts.n)
    spread = np.sqrt(2 * pooled * (1 - pooled) / counts.n)
    return float(ndtr(-counts.difference / spread)) if spread else 1.0


if __name__ == "__main__":
    main()

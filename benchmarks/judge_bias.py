"""Planted judges: what their biases do to the win rate, and what is left after both orders and length control.

    python benchmarks/judge_bias.py --json > benchmarks/results/judge.json      # a minute on one core

Each repetition draws ``rows`` pairs of answers of which the tuned one is truly better with chance ``truth``, and whose
lengths differ by a normal amount, the tuned one's 0.8 standard deviations longer on average. The judge sees the truth
through two faults: it leans to the longer answer (``length``: the weight of the length term on the logit scale) and, in
each order, blindly takes the first answer with chance ``position``. Its verdicts in both orders become one as in
``honed judge``. Printed are the mean win rate of a judge asked once with the base first, of both orders, and the
length-controlled one, with the coverage of the latter's 95 % interval: how often it holds the win rate that the same
judge would give at equal lengths (ties counted half).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from scipy.special import expit, logit

from honed.evaluate.judge import lengths
from measure import surroundings

TRUTHS = (0.5, 0.6)
LENGTHS = (0.0, 1.5)
POSITIONS = (0.0, 0.4)
LONGER = 0.8


def main() -> None:
    """Run the simulation that the command line asks for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400, help="planted judges in each cell (default: 400)")
    parser.add_argument("--rows", type=int, default=200, help="pairs of answers (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else, on stdout")
    options = parser.parse_args()
    cells = []
    for truth in TRUTHS:
        for length in LENGTHS:
            for position in POSITIONS:
                random = np.random.default_rng([options.seed, round(10 * truth), round(10 * length), len(cells)])
                cells.append(cell(random, options.rows, options.repetitions, truth, length, position))
                if not options.json:
                    print(cells[-1], flush=True)
    if options.json:
        what = {"rows": options.rows, "repetitions": options.repetitions, "seed": options.seed}
        print(json.dumps({**what, "cells": cells, **surroundings.surroundings()}, indent=1))


def cell(
    random: np.random.Generator, rows: int, repetitions: int, truth: float, length: float, position: float
) -> dict[str, Any]:
    """Return the mean win rates of one kind of judge, and the coverage of the length-controlled interval."""
    once, both, controlled, covered = 0.0, 0.0, 0.0, 0
    fair = truth * (1 - position) + position / 2  # a verdict that position turns in one order becomes a tie
    for _ in range(repetitions):
        gaps = random.normal(LONGER, 1, rows) * 300
        wins = random.random(rows) < expit(logit(truth) + length * np.tanh(gaps / gaps.std()))
        blind = random.random((2, rows)) < position
        first = np.where(blind[0], False, wins)  # the base is shown first
        second = np.where(blind[1], True, wins)  # the tuned answer is
        scores = np.where(first == second, first.astype(float), 0.5)
        found = lengths.controlled(scores.tolist(), (1000 + gaps).astype(int).tolist(), [1000] * rows, range(rows))
        once += first.mean()
        both += scores.mean()
        controlled += found.win_rate
        covered += found.interval.low <= fair <= found.interval.high
    means = {"first_order": once, "both_orders": both, "length_controlled": controlled, "covered": float(covered)}
    setting = {"truth": truth, "length": length, "position": position, "at_equal_lengths": round(fair, 4)}
    return {**setting, **{name: round(value / repetitions, 4) for name, value in means.items()}}


if __name__ == "__main__":
    main()

"""What ``honed train`` says in the end."""

from __future__ import annotations

from typing import Any

from honed.cli import train

RESULT: dict[str, Any] = {
    "model": "desk@v2", "rows": 60, "steps": 20, "heldout_loss": 2.5, "heldout_loss_before": 3.25, "seconds": 622.4,
    "tokens_per_second": 300.4, "peak_rss_bytes": 1.25e9, "diverged": None,
    "ran": {"objective": "sft", "weights": "lora", "precision": "fp32", "device": "cpu", "learning_rate": 0.02},
}  # fmt: skip


def test_the_last_line_of_a_training_tells_what_came_of_it_and_whether_it_diverged() -> None:
    how = "300 tokens/s, peak 1.2 GB (sft, lora, fp32 on cpu)"
    said = f"desk@v2: 60 rows, 20 steps, held-out loss 3.250 -> 2.500, took 10:22, {how}"
    assert train._line(RESULT) == said
    assert "held-out loss 2.500" in train._line({**RESULT, "heldout_loss_before": None})
    assert "loss" not in train._line({**RESULT, "heldout_loss": None, "heldout_loss_before": None})
    why = "the loss rose to 8.4 (mean of 5 steps), 4.2 times that of step 1"
    bad = {**RESULT, "diverged": {"step": 12, "why": why}}
    assert train._line(bad) == f"{said}; diverged at step 12: {why}; lower learning_rate (now 0.02)"

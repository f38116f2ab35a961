"""The count of FLOP, which every share of the ceiling rests on, equals a count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from measure import flops
from tests.tiny import tiny_model

SHAPE = flops.Shape(matrices=((4, 2), (3, 4)), layers=2, width=5, hidden=7, vocabulary=11)


def test_a_forward_pass_counts_what_a_hand_count_finds() -> None:
    work = flops.work_of([(3, 1), (2, 2)])
    assert work == flops.Work(tokens=5, supervised=3, pairs=6 + 3)
    matrices = 2 * (2 * (4 * 2 + 3 * 4)) * 5  # two FLOP a weight, two layers, five tokens
    head = 2 * 7 * 11 * 3
    attention = 2 * 2 * (2 * 5 * 9)  # two layers; scores and sums, each two FLOP a unit of width and pair
    assert flops.forward(SHAPE, work) == matrices + head + attention


def test_full_training_is_three_forward_passes_and_lora_two_plus_its_adapters() -> None:
    work = flops.Work(tokens=10, supervised=0, pairs=0)
    decoder = 2 * (4 * 2 + 3 * 4)
    adapters = 2 * (3 * (4 + 2) + 3 * (3 + 4))
    assert flops.training(SHAPE, work) == 6 * decoder * 10
    assert flops.training(SHAPE, work, rank=3) == 4 * decoder * 10 + 6 * adapters * 10
    assert flops.training(SHAPE, work, rank=3, reference=True) == 6 * decoder * 10 + 6 * adapters * 10


def test_the_count_equals_that_of_torch_on_a_model(tmp_path: Path) -> None:
    model = tiny_model()
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()))
    shape = flops.shape_of(tmp_path)
    ids = torch.arange(40).view(1, -1)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    # torch counts attention as if every token saw every other one, and flash attention's backward with a pass repeated:
    # only the products of matrices are compared.
    products = sum(n for op, n in counter.get_flop_counts()["Global"].items() if "attention" not in str(op))
    ours = flops.training(shape, flops.Work(tokens=40, supervised=40, pairs=0))
    rotary = 2 * 40 * shape.width // 4 // 2  # the angles, a product of positions and frequencies
    assert abs(products - ours) <= rotary


def test_rows_under_one_prompt_are_spared_the_pairs_of_that_prompt() -> None:
    prompt = list(range(100, 130))
    ids = [[*prompt, n] for n in range(4)]
    whole = flops.work_of([(31, 1)] * 4)
    once = flops.shared(whole, 30 + 4, ids)
    assert once.pairs == 30 * 31 // 2 + 4 * 31
    assert flops.shared(whole, whole.tokens, ids) == whole

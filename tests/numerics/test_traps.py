"""The known ways in which fine-tuning goes silently wrong, and the test that catches each: none may lose its test.

Some need whole jobs, several processes or a kill: those stand in tests/train, beside the machinery they share.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from honed.models import load, save
from honed.records import Message
from tests.tiny import TEMPLATE, tiny_folder

TRAPS: Mapping[str, tuple[str, ...]] = {
    "1 accumulation averages means of micro-batches": (
        "numerics.test_loop:test_a_step_of_the_loop_has_the_gradient_of_its_rows_summed_over_their_weight",
        "numerics.test_loop:test_turns_count_by_their_weight_in_a_steps_gradient",
        "numerics.test_batches:test_1x8_and_8x1_on_rows_of_unequal_length_give_equal_gradients",
        "numerics.test_objectives:test_1x8_and_8x1_on_answers_of_unequal_length_give_equal_gradients",
    ),
    "2 ranks average unequal counts": (
        "numerics.test_ranks:test_gradients_of_2_ranks_with_10_to_1_skew_equal_those_of_one_process",
    ),
    "3 evaluation averages means of batches": (
        "numerics.test_batches:test_the_held_out_loss_does_not_depend_on_how_many_rows_share_a_pass",
    ),
    "4 pad is stop, and never learned": (
        "numerics.test_masking:test_with_pad_equal_to_stop_the_last_label_of_each_turn_is_the_stop",
    ),
    "5 the stop is outside the mask": (
        "numerics.test_masking:test_stop_is_in_the_labels_of_every_assistant_turn_for_every_shipped_template",
    ),
    "6 two beginnings, an extra end": ("numerics.test_masking:test_one_bos_and_no_extra_stop",),
    "7 the prompt is no prefix": (
        "numerics.test_masking:test_a_row_whose_template_rewrites_earlier_turns_is_reported",
        "numerics.test_masking:"
        "test_an_answer_that_begins_with_half_of_a_token_that_its_header_ends_with_is_learned_behind_what_a_server_feeds",
    ),
    "8 the mask is lost": ("numerics.test_masking:test_decoded_supervised_text_is_the_assistants_text_and_stop",),
    "9 labels off by one": (
        "numerics.test_batches:test_first_target_is_the_first_answer_token_and_is_predicted_from_the_header",
    ),
    "10 truncation removes the answer": (
        "numerics.test_masking:test_an_over_long_row_is_named_and_counted_and_never_cut",
    ),
    "11 truncation cuts the header": (
        "numerics.test_masking:test_tokens_before_the_first_label_are_what_a_server_feeds",
    ),
    "12 packing contaminates": (
        "numerics.test_batches:test_packed_hidden_states_equal_those_of_each_row_alone",
        "numerics.test_families:test_the_loss_of_every_family_is_that_of_the_models_own_forward_pass",
    ),
    "13 wrong positions in a pack": (
        "numerics.test_prefixes:test_every_row_can_be_read_off_its_forest_and_nothing_is_laid_twice",
        "numerics.test_batches:test_loss_of_a_pack_is_the_sum_of_the_losses_of_its_rows",
        "numerics.test_batches:test_the_gradient_is_that_of_the_plain_loss_over_all_logits",
    ),
    "14 an optimisation is silently off": (
        "train.test_worker:test_two_processes_with_one_seed_make_the_same_weights_and_result_names_what_ran",
    ),
    "15 resume in another order": (
        "train.test_resume:test_kill_9_in_epoch_2_then_resume_gives_the_weights_of_an_uninterrupted_run",
        "train.test_stream:"
        "test_kill_9_in_epoch_2_of_a_shuffled_stream_then_resume_gives_the_weights_of_an_uninterrupted_run",
        "train.test_ranks:test_kill_9_of_a_rank_in_epoch_2_ends_all_and_a_resume_gives_the_same_weights",
        "numerics.test_stream:test_a_stream_goes_on_from_any_step_as_if_it_had_never_stopped",
        "numerics.test_resume:test_a_run_that_is_killed_at_any_step_and_resumed_is_the_uninterrupted_one_to_the_bit",
        "numerics.test_crashes:test_a_run_that_dies_in_any_file_operation_of_its_checkpoints_goes_on_to_the_same_end",
        "numerics.test_ranks:test_two_ranks_that_are_killed_in_epoch_2_and_resumed_are_the_uninterrupted_ones_to_the_bit",
    ),
    "16 seeded too late": (
        "numerics.test_adapters:test_adapters_depend_on_their_seed_alone",
        "train.test_worker:test_two_processes_with_one_seed_make_the_same_weights_and_result_names_what_ran",
    ),
    "17 small updates frozen": (
        "numerics.test_weights:test_every_trainable_tensor_changes_after_step_1_at_the_smallest_rate_of_the_warm_up",
    ),
    "18 tied embeddings broken by a merge": (
        "numerics.test_adapters:test_adapter_logits_equal_those_saved_merged_and_reloaded",
    ),
    "19 merged into the wrong base": (
        "numerics.test_quantised:test_adapter_logits_equal_those_merged_into_the_weights_that_they_were_trained_beside",
    ),
    "20 the template is lost": ("numerics.test_traps:test_the_template_is_the_same_when_trained_exported_and_served",),
    "21 another reference": (
        "numerics.test_objectives:test_at_step_0_the_model_is_the_base_whichever_pass_a_row_was_computed_in",
    ),
    "22 the key misses an argument": (
        "numerics.test_reference:test_the_key_covers_everything_that_the_numbers_depend_on",
    ),
    "23 keys that nothing reads": (
        "numerics.test_adapters:test_an_adapter_that_peft_loads_gives_the_trained_logits_not_the_bases",
    ),
    "24 shared prefixes change the result": (
        "numerics.test_prefixes:test_sft_gradients_with_nested_shared_prefixes_equal_those_of_unshared_rows",
        "numerics.test_prefixes:test_dpo_gradients_with_shared_prompts_equal_those_of_unshared_rows",
        "numerics.test_shared:"
        "test_gradients_with_nested_shared_prefixes_equal_those_of_unshared_rows_however_they_are_computed",
    ),
    "25 a mask of another type": ("numerics.test_masking:test_a_list_a_tensor_and_an_encoding_get_the_same_mask",),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_test(trap: str) -> None:
    for name in TRAPS[trap]:
        module, _, test = name.partition(":")
        assert callable(getattr(importlib.import_module(f"tests.{module}"), test))


def test_there_are_25_traps() -> None:
    assert [int(trap.split()[0]) for trap in TRAPS] == list(range(1, 26))


def test_the_template_is_the_same_when_trained_exported_and_served(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base", template=TEMPLATE.replace("\n", " "))
    trained = load.load(str(base), None)
    save.save(trained.model, trained.chat, tmp_path / "exported")
    served = load.load(str(tmp_path / "exported"), None)
    assert trained.chat.template == served.chat.template != TEMPLATE
    assert trained.chat.hash == load.load_chat(str(base), None).hash == served.chat.hash
    prompt = (Message(role="user", content="hello"),)
    assert served.chat.prompt_ids(prompt) == trained.chat.prompt_ids(prompt)

"""What other tools and people call the settings of a training, and where each is here.

The words are those of transformers, PEFT, TRL, LLaMA-Factory and axolotl. ``NAME: VALUE`` is a setting with the value
that is meant; what is no setting is named by the command that does it.
"""

from __future__ import annotations

from collections.abc import Mapping

_WORDS: Mapping[str, str] = {
    "base": "model model_name model_name_or_path model_id base_model pretrained_model",
    "data": "dataset datasets dataset_name dataset_path train_data train_file",
    "name": "output_dir output_name run_name hub_model_id",
    "objective": "stage method algorithm loss trainer",
    "preference.beta": "beta dpo_beta kl_beta pref_beta kto_beta orpo_beta simpo_beta",
    "preference.dpo_loss": "dpo_loss loss_type pref_loss",
    "preference.gamma": "gamma simpo_gamma gamma_beta_ratio",
    "preference.desirable": "desirable desirable_weight kto_chosen_weight",
    "preference.undesirable": "undesirable undesirable_weight kto_rejected_weight",
    "neftune_alpha": "neftune neftune_noise_alpha",
    "rows": "max_samples max_train_samples num_samples",
    "stream": "streaming",
    "stream_rows": "buffer_size shuffle_buffer_size",
    "weights": "adapter finetuning_type tuning peft",
    "weights: full": "full_finetuning full_finetune",
    "weights: lora": "use_lora use_peft",
    "weights: qlora": "load_in_4bit quantization quantization_bit quantization_config",
    "lora": "lora_config peft_config",
    "lora.rank": "r rank lora_r lora_rank",
    "lora.alpha": "alpha lora_alpha",
    "lora.targets": "targets target_modules lora_target lora_target_modules",
    "lora.dropout": "dropout lora_dropout",
    "lora.rslora": "rslora use_rslora",
    "lora.dora": "dora use_dora",
    "epochs": "num_train_epochs num_epochs n_epochs max_epochs max_steps num_steps train_steps steps iterations",
    "learning_rate": "lr max_lr peak_lr",
    "schedule": "lr_scheduler lr_scheduler_type lr_schedule scheduler",
    "average": "ema use_ema swa",
    "warmup": "warmup_ratio warmup_steps num_warmup_steps lr_warmup_steps",
    "weight_decay": "wd",
    "clip_norm": "max_grad_norm grad_clip clip_grad_norm gradient_clipping gradient_clip_val",
    "batch_tokens": "batch_size train_batch_size global_batch_size per_device_train_batch_size per_device_batch_size "
    "gradient_accumulation_steps gradient_accumulation accumulation_steps grad_accum",
    "pack_tokens": "micro_batch_size",
    "activation_checkpointing": "gradient_checkpointing use_gradient_checkpointing recompute",
    "packing": "pack sample_packing padding_free",
    "max_length": "max_seq_length max_seq_len max_sequence_length seq_length seq_len sequence_len cutoff_len "
    "model_max_length context_length block_size max_prompt_length",
    "template": "chat_template",
    "seed": "random_seed random_state data_seed",
    "precision": "dtype torch_dtype mixed_precision fp16",
    "precision: bf16": "bf16",
    "precision: fp32": "fp32",
    "compile": "torch_compile use_liger_kernel",
    "device": "device_map accelerator",
    "device: cpu": "use_cpu no_cuda",
    "ranks": "nproc_per_node num_processes num_gpus n_gpus n_gpu gpus world_size ray_num_workers",
    "shard: fsdp": "fsdp deepspeed zero_stage",
    "cpu_offload": "offload fsdp_offload_params",
    "on": "ray ray_address",
    "eval_every": "eval_steps evaluation_steps eval_interval eval_strategy evaluation_strategy",
    "eval_rows": "eval_samples max_eval_samples",
    "checkpoint_every": "save_steps save_interval save_every save_strategy checkpoint_steps",
    "keep_checkpoints": "save_total_limit",
    "keep_best": "load_best_model_at_end",
    "honed train --track NAME": "report_to log_with logger wandb trackers tracker track",
    "honed jobs resume ID": "resume resume_from_checkpoint",
    "honed data import FILE --as NAME --heldout SHARE": "val_size test_size val_set_size validation_split",
}

SYNONYMS: Mapping[str, str] = {word: ours for ours, words in _WORDS.items() for word in words.split()}

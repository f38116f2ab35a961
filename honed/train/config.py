"""What may be set for training. ``None``: chosen from the model, the data and the machine, and the reason said."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honed.config import Config


class TrainConfig(Config):
    """Settings of one training job."""

    base: str = Field(
        description="model to start from: smollm2-135m, a workspace model, a folder, a .gguf file, a hub id"
    )
    data: str = Field(description="dataset of the workspace: name (newest version) or name@vN")
    name: str | None = Field(None, description="name of the model that is made; default: <base>-<data>, dpo: ...-dpo")
    objective: Literal["sft", "dpo"] = Field(
        "sft", description="learn the dataset's rows (sft), or its preferences between two answers (dpo)"
    )
    dpo_beta: float = Field(0.1, gt=0, description="dpo: how strongly the model is held to the base's answers")
    rows: int | None = Field(None, gt=0, description="train on the first N training rows (dpo: preferences) only")
    weights: Literal["auto", "full", "lora"] = Field("auto", description="train all weights, or LoRA adapters")
    lora_rank: int = Field(16, gt=0, description="rank of the LoRA adapters, on every linear layer but the head")
    lora_alpha: float = Field(32.0, gt=0, description="LoRA scale: the adapter's output is multiplied by alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the LoRA adapters' input")
    epochs: float | None = Field(None, gt=0, description="passes over the training rows; a fraction is allowed")
    learning_rate: float | None = Field(None, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="learning rate after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay, on matrices only")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm at most")
    batch_tokens: int | None = Field(None, gt=0, description="tokens (prompt and answer) in one optimizer step, about")
    pack_tokens: int | None = Field(None, gt=0, description="tokens in one forward pass, at most; decides peak memory")
    packing: bool = Field(True, description="put several rows into one forward pass, exactly, without padding")
    sharing: bool = Field(True, description="compute common prefixes of the rows in a pass once, exactly, if it pays")
    max_length: int | None = Field(None, gt=1, description="rows with more tokens are left out and listed, never cut")
    template: str | None = Field(None, description="shipped chat template to use instead of the model's own")
    seed: int = Field(0, ge=0, description="decides row order, adapter initialisation and dropout")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="compute precision; auto measures both")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    ranks: int = Field(1, ge=0, description="processes that train together, on this machine or on Ray; 0: one per GPU")
    shard: Literal["none", "fsdp"] = Field(
        "none", description="what a rank holds: the whole model (none), or a share of weights and moments (fsdp)"
    )
    cpu_offload: bool = Field(False, description="fsdp: keep each rank's share in the host's memory, not the GPU's")
    on: str | None = Field(
        None, pattern=r"^ray(://\S+)?$", description="run the ranks on Ray: ray (this machine), or ray://HOST:PORT"
    )
    eval_every: int | None = Field(None, gt=0, description="steps between held-out losses; default: five in a run")
    eval_rows: int = Field(64, ge=0, description="held-out rows for the loss during the run; 0 turns it off")
    checkpoint_every: int | None = Field(None, gt=0, description="steps between checkpoints; default: every 5 minutes")
    keep_checkpoints: int = Field(1, gt=0, description="newest checkpoints kept while the job runs")
    keep_best: bool = Field(
        False, description="make the model of the weights with the lowest held-out loss, not the last"
    )

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.cpu_offload and self.shard != "fsdp":
            raise ValueError("cpu_offload is something that only shard fsdp does")
        if self.keep_best and not self.eval_rows:
            raise ValueError("keep_best needs a held-out loss, and eval_rows 0 turns it off")
        return self

"""What may be set for training. ``None``: chosen from the model, the data and the machine, and the reason said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.jobs import cluster
from honed.train.lora_config import LoraConfig
from honed.train.objectives.kinds import KINDS, PreferenceConfig
from honed.train.synonyms import SYNONYMS


class TrainConfig(Config):
    """Settings of one training job."""

    synonyms: ClassVar[Mapping[str, str]] = SYNONYMS

    base: str = Field(
        description="model to start from: smollm2-135m, a workspace model, a folder, a .gguf file, a hub id"
    )
    data: str = Field(description="dataset of the workspace: name (newest version) or name@vN")
    name: str | None = Field(None, description="name of the model that is made; default: BASE-DATA, then -OBJECTIVE")
    objective: Literal["sft", "dpo", "kto", "orpo", "simpo"] = Field(
        "sft",
        description="learn the dataset's rows (sft), its preferences between two answers (dpo, orpo, simpo), or "
        "answers that were found good or bad: its ratings, and both sides of its preferences (kto)",
    )
    preference: PreferenceConfig = Field(
        PreferenceConfig(), description="settings of dpo, kto, orpo and simpo; what is left open is as in their papers"
    )
    neftune_alpha: float = Field(
        0.0, ge=0, description="noise on the embeddings while training (NEFTune), usually 5 to 15; 0 turns it off"
    )
    rows: int | None = Field(
        None,
        gt=0,
        description="train on the first N training rows only; of preferences and ratings as many as their shares",
    )
    stream: Literal["auto"] | bool = Field(
        "auto",
        description="read the rows while training, in bounded memory; auto: if they are large beside what is free",
    )
    stream_rows: int | None = Field(None, gt=0, description="stream: rows that are shuffled together, about")
    weights: Literal["auto", "full", "lora", "qlora"] = Field(
        "auto",
        description="train all weights, LoRA adapters, or adapters beside weights in 4 bits (qlora); "
        "auto: adapters for rows (sft) that fit into them, else all weights if these fit into memory",
    )
    lora: LoraConfig = Field(LoraConfig(), description="how adapters are made, where adapters are trained")
    epochs: float | None = Field(None, gt=0, description="passes over the training rows; a fraction is allowed")
    learning_rate: float | None = Field(None, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] | None = Field(
        None, description="learning rate after the warm-up; default: constant with average, else cosine"
    )
    average: bool | None = Field(
        None,
        description="make the model of the mean of the run's weights, late steps weighing most, and measure that; "
        "default: where adapters learn rows (sft) in 60 steps or more, unless a schedule is set",
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay, on matrices only")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm at most")
    batch_tokens: int | None = Field(None, gt=0, description="tokens (prompt and answer) in one optimizer step, about")
    pack_tokens: int | None = Field(None, gt=0, description="tokens in one forward pass, about; decides peak memory")
    activation_checkpointing: bool = Field(
        False, description="compute each layer again in the backward pass: far less memory, about a third more time"
    )
    packing: bool = Field(True, description="put several rows into one forward pass, exactly, without padding")
    sharing: bool = Field(True, description="compute common prefixes of the rows in a pass once, exactly, if it pays")
    max_length: int | None = Field(None, gt=1, description="rows with more tokens are left out and listed, never cut")
    template: str | None = Field(None, description="shipped chat template to use instead of the model's own")
    seed: int = Field(0, ge=0, lt=2**63, description="decides row order, adapter initialisation and dropout")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="compute precision; auto measures both")
    compile: bool | None = Field(
        None,
        description="compute norms and activations, on a GPU rotary positions and losses too, by kernels compiled for "
        "this machine, where they agree with torch; default: yes on a CPU, in C; no on a GPU, where torch's compiler "
        "needs up to a minute, once",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    ranks: int = Field(1, ge=0, description="processes that train together, on this machine or on Ray; 0: one per GPU")
    shard: Literal["none", "fsdp"] = Field(
        "none", description="what a rank holds: the whole model (none), or a share of weights and moments (fsdp)"
    )
    cpu_offload: bool = Field(False, description="fsdp: keep each rank's share in the host's memory, not the GPU's")
    on: str | None = Field(
        None, pattern=cluster.ON, description="run the ranks on Ray: ray (this machine), or ray://HOST:PORT"
    )
    eval_every: int | None = Field(None, gt=0, description="steps between held-out losses; default: five in a run")
    eval_rows: int = Field(64, ge=0, description="held-out rows for the loss during the run; 0 turns it off")
    checkpoint_every: int | None = Field(
        None,
        gt=0,
        description="steps between checkpoints; default: every 5 minutes, but a twentieth of the time at most",
    )
    keep_checkpoints: int = Field(
        1, gt=0, description="newest checkpoints kept while the job runs; one more until the newest has proved good"
    )
    keep_best: bool = Field(
        False, description="make the model of the weights with the lowest held-out loss, or means of them, not the last"
    )

    @property
    def ranks_here(self) -> int:
        """How many ranks divide this machine: all, also those of a Ray that is started here; of one elsewhere, one."""
        return 1 if self.on and "://" in self.on else max(1, self.ranks)

    @property
    def machines(self) -> int:
        """How many machines the run takes: a Ray elsewhere is taken to have one for each rank."""
        return max(1, self.ranks) // self.ranks_here

    @model_validator(mode="before")
    @classmethod
    def _adapters_are_asked_for(cls, values: Any) -> Any:
        """Whatever is set of adapters asks for them, be it the default. A job's own file sets all of it, always."""
        lora = values.get("lora") if isinstance(values, dict) else None
        some = isinstance(lora, dict) and 0 < len(lora) < len(LoraConfig.model_fields)
        return {**values, "weights": "lora"} if some and values.get("weights", "auto") == "auto" else values

    @model_validator(mode="after")
    def _placement_is_possible(self) -> Self:
        if self.cpu_offload and self.shard != "fsdp":
            raise ValueError("cpu_offload is something that only shard fsdp does")
        if self.weights == "qlora" and self.shard == "fsdp":
            raise ValueError("4-bit weights can't be divided by fsdp: use shard none with qlora, or weights lora")
        if self.stream is True and KINDS[self.objective].refers:
            raise ValueError(
                f"{self.objective} can't be streamed: the base model's likelihoods of all examples are computed before "
                "the first step. Set stream to false, and rows to as many as fit into memory, or learn preferences by "
                "an objective that needs no reference: orpo or simpo"
            )
        if self.keep_best and not self.eval_rows:
            raise ValueError("keep_best needs a held-out loss, and eval_rows 0 turns it off")
        return self

    @model_validator(mode="after")
    def _every_setting_is_read(self) -> Self:
        if unread := KINDS[self.objective].unread(self.preference):
            known = ", ".join(KINDS[self.objective].defaults) or "none of them"
            raise ValueError(f"preference.{unread[0]} is nothing to {self.objective}, which reads {known}")
        if self.weights == "full" and self.lora.named:
            raise ValueError("settings of lora say how adapters are made, and weights: full makes none")
        if self.stream_rows and (self.stream is False or KINDS[self.objective].refers):
            none = "stream false" if self.stream is False else self.objective
            raise ValueError(f"stream_rows says how a stream is shuffled, and {none} makes none")
        if self.eval_every and not self.eval_rows:
            raise ValueError("eval_every says when held-out losses are measured, and eval_rows 0 turns them off")
        return self

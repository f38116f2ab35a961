"""From a job's settings to all that its training starts from: model, examples, held-out rows, nothing left open."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from honed.errors import ConfigError, JobError
from honed.jobs.job import Job
from honed.models import devices
from honed.models import load as models
from honed.models import save as saving
from honed.models.chat import DEFAULT_TEMPLATE, ChatFormat, Encoded, shipped_templates
from honed.models.load import LoadedModel
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.train import adapters, attention, footprint, layout, own_attention, reach, source
from honed.train.attempts import COUNTED, check_base, check_data, check_settings, chosen, read, remember
from honed.train.config import TrainConfig
from honed.train.defaults import LEAST_PASS, Facts, Settings, resolve
from honed.train.lora_config import LoraConfig
from honed.train.optim import keep_wide
from honed.train.own_attention import Found
from honed.train.quantise import quantise
from honed.train.ranks import ALONE, Ranks
from honed.train.rows import Limit, Reading, Rows, encode, parted
from honed.train.source import Stream

_NO_WINDOW = 2**31

_HELD_OUT_SEED = 0
"""That of evaluations by default. The rows are the same in every run on a dataset, whose losses are compared."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Prepared:
    """Everything that a run starts from. ``train`` holds what the objective learns from.

    ``adapters`` are those that training will add; None trains all weights.
    """

    job: Job
    config: TrainConfig
    settings: Settings
    base: LoadedModel
    adapters: LoraConfig | None
    dataset: Artifact
    train: Rows[Any] | Stream[Any]
    heldout: Rows[Encoded]


def prepare(job: Job, ranks: Ranks = ALONE, stopping: Callable[[], bool] = lambda: False) -> Prepared:
    """Load what ``config.yaml`` names and choose what it leaves open; lists what can't be used.

    Rank 0 measures, chooses and writes for all. A model that is to be sharded is loaded on the host.

    Raises ``DoesNotFitError`` before the model is loaded if it can't fit, ``HonedError`` if it can't be loaded,
    ``DataError`` if nothing in the dataset can be used, or ``Stopped`` when asked to stop while rows are read.
    """
    ranks.together(lambda: check_settings(job) if ranks.first else None)
    config = read(job)
    dataset = artifacts.resolve(job.workspace, "datasets", config.data)
    ranks.together(lambda: check_data(job, dataset) if ranks.first else None)
    device, why_device = devices.choose_for_training(config.device)
    sharded = config.shard == "fsdp"
    if ranks.first:
        if why_device:
            job.log.note(why_device)
        models.locate(config.base, job.workspace, say=job.log.note)  # fetches what isn't here, and says so
    precision, why = ranks.agreed(_precision(config, device) if ranks.first else ("", ""))
    host = ranks.agreed(free_memory(config))
    memory = ranks.agreed(int(torch.cuda.mem_get_info()[0])) if device == "cuda" else host
    outline = models.outline(config.base, job.workspace)
    footprint.check(config, outline, device=device, precision=precision, memory=memory, host=host)
    torch.manual_seed(config.seed)
    attention.register()
    base = models.load(
        config.base,
        job.workspace,
        dtype=DTYPES[precision],
        device="cpu" if sharded or config.weights == "qlora" else device,  # each moved there as it is cut, or quantised
        attention=_attention(outline, device),
        template=config.template,
    )
    reach.freeze_beside_text(base.model)
    _check_base(job, config, base, ranks)
    limit = _limit(config, base, _compared(base.model, ranks, job.log.note))
    base.chat = replace(base.chat, clock=_clock(job, ranks))
    reading = Reading(job, stopping)
    train, why_stream = source.find(config, dataset, base.chat, limit, reading, host)
    if config.objective == "sft":
        asked = ranks.agreed(chosen(job)["asked"]["pack_tokens"] if ranks.first else None)
        train = _apart(config, train, base, ranks, asked)
    _note_chat(job, config, dataset, base.chat)
    facts = Facts(
        parameters=sum(p.numel() for p in base.model.parameters()),
        rows=train.rows if isinstance(train, Stream) else train.count,
        tokens=train.tokens if isinstance(train, Stream) else sum(train.lengths),
        memory=memory,
        device=device,
        precision=precision,
        precision_reason=why,
        shares=footprint.shares(config),  # of the run, also where one process plans it
        adapters=_adapter_weights(config, base.model),
        examples=train.examples if isinstance(train, Stream) else len(train.encoded),
    )
    heldout = _heldout(config, dataset, base.chat, limit, reading)
    settings = _settled(job, config, facts, isinstance(train, Stream), why_stream, ranks)
    _settle_weights(base, job, config, settings)
    adapted = None if settings.weights == "full" else config.lora
    return Prepared(job, config, settings, base, adapted, dataset, train, heldout)


def _check_base(job: Job, config: TrainConfig, base: LoadedModel, ranks: Ranks) -> None:
    """Raise if the base is another than at first, or its chat format can't be published."""
    check_base(job, config.base, ranks)
    ranks.together(lambda: saving.check(base.model, base.chat, job.path) if ranks.first else None)


def _settle_weights(base: LoadedModel, job: Job, config: TrainConfig, settings: Settings) -> None:
    """Give weights of 16 bits the wide ones that their masters begin at; quantise those of qlora.

    Before anything is computed with these: the base of such a run is the quantised one.
    """
    if settings.weights == "full" and settings.precision != "fp32":
        there = "cpu" if config.shard == "fsdp" else settings.device
        wide = models.load(config.base, job.workspace, device=there, template=config.template)
        keep_wide(base.model, wide.model)
    if settings.weights == "qlora":
        quantise(base.model, settings.device)


def _clock(job: Job, ranks: Ranks) -> datetime:
    """When the first attempt began: the date that a template writes is one of the tokens that are learned from."""
    now = ranks.agreed(chosen(job).get("clock") or datetime.now(UTC).astimezone().isoformat(timespec="seconds"))
    if ranks.first:
        remember(job, clock=now)
    return datetime.fromisoformat(now)


def _apart(
    config: TrainConfig, train: Rows[Any] | Stream[Any], base: LoadedModel, ranks: Ranks, asked: int | None
) -> Rows[Any] | Stream[Any]:
    """Let answers that have rows of their own be examples of their own, where nothing is shared or rows would mix.

    They share all that comes before them with the rest of the conversation, and only then are a pass with it, if there
    is room: ``asked`` are the tokens of a pass, as the first attempt was asked. A stream may have them though its
    sample has none.
    """
    stream, sample = isinstance(train, Stream), train.sample if isinstance(train, Stream) else train
    some = any(row.apart for row in sample.encoded)
    if not some and not stream:
        return train
    shares = some and config.packing and config.sharing and not layout.draws(base.model, config)
    shares = shares and ranks.agreed(layout.may_share(base.model, sample.encoded))
    tokens = (asked or LEAST_PASS) if shares else 0
    found = parted(sample, tokens)
    if isinstance(train, Rows):
        return found
    if not any(row.apart for row in found.encoded):  # for such examples ``layout`` keeps sharing on, and not without
        tokens = 0
    read = train.read
    return replace(train, read=lambda wanted: parted(read(wanted), tokens), sample=found)


def _attention(outline: PreTrainedModel, device: str) -> str | None:
    """The path that the model begins with; ``layout.py`` finds a faster one. None: its own."""
    if not attention.replaceable(outline):
        return None
    return attention.FUSED if device == "cpu" else attention.PARTS


def _settled(job: Job, config: TrainConfig, facts: Facts, streams: bool, why_stream: str, ranks: Ranks) -> Settings:
    """The settings with nothing left open, for which the first attempt's reasons stand; rank 0 keeps what was chosen.

    Raises ``JobError`` where that attempt had other examples: each step would be another.
    """
    before, settings = chosen(job), resolve(config, facts)
    if (first := before.get("examples", facts.rows)) != facts.rows:
        raise JobError(
            f"job {job.id} began with {first} examples, and {facts.rows} are made of its data now",
            f"Train anew: honed train {job.path / 'config.yaml'}",
        )
    reasons = before.get("reasons") or [*settings.reasons, *([why_stream] if why_stream else [])]
    if ranks.first:
        _note_rounding(job, before)
        remember(
            job,
            **{name: before.get(name, value) for name, value in _rounds_by().items()},
            device=facts.device,
            precision=facts.precision,
            weights=settings.weights,
            schedule=settings.schedule,
            average=settings.average,
            stream=streams,
            reasons=reasons,
            examples=facts.rows,
            **{name: getattr(settings, name) for name in COUNTED if getattr(config, name) is None},
        )
    return replace(settings, reasons=tuple(reasons))


def _note_rounding(job: Job, before: Mapping[str, Any]) -> None:
    """Say so if this attempt rounds otherwise than the first one did: sums are cut by threads, kernels are torch's."""
    now = _rounds_by()
    if differ := [
        f"{name} {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]
    ]:
        job.log.note(
            f"the first attempt had {' and '.join(differ)}: the weights will equal those of an uninterrupted run up to "
            "rounding, not to the bit"
        )


def _rounds_by() -> dict[str, Any]:
    return {"threads": torch.get_num_threads(), "torch": torch.__version__}


def _adapter_weights(config: TrainConfig, model: PreTrainedModel) -> int:
    """``Facts.adapters``, where it is still open which weights are trained."""
    if config.weights != "auto" or not adapters.reach_most(model):
        return 0
    return adapters.count(model, config.lora.rank)


def _compared(model: PreTrainedModel, ranks: Ranks, say: Callable[[str], None]) -> Found:
    """What rank 0 finds of the model's attention; where ours isn't its own, it gets its own back."""
    if model.config._attn_implementation not in (attention.FUSED, attention.PARTS):
        return Found(ours=False, windows=False)
    found = Found(**ranks.agreed(asdict(own_attention.compare(model)) if ranks.first else {}))
    if found.why and ranks.first:
        say(f"our attention can't be put into this model: {found.why}")
    if not found.ours:
        model.set_attn_implementation(own_attention.OWN)
    return found


def _heldout(config: TrainConfig, dataset: Artifact, chat: ChatFormat, limit: Limit, reading: Reading) -> Rows[Encoded]:
    """Return the rows of the held-out loss; ``ConfigError`` if there are none and the best step is to be kept."""
    wanted = datasets.sampled(dataset, "heldout", config.eval_rows, _HELD_OUT_SEED)
    heldout = encode(reading.over(datasets.read(dataset, "heldout", wanted), wanted), chat, limit)
    if config.keep_best and not heldout.encoded:
        lacks = f"keep_best needs a held-out loss, and {dataset.ref} has no held-out row that can be measured"
        more = "import the data again with more held out: honed data import FILE --as NAME --heldout 0.2"
        if heldout.left_out:
            first = heldout.left_out[0]
            lacks, more = f"{lacks}: {first['message']}", first["hint"] or more
        raise ConfigError(lacks, f"Leave out keep_best. Or: {more}")
    return heldout


def template_of(config: TrainConfig, chat: ChatFormat) -> str:
    """Return which chat template rows are written in."""
    return config.template or ("the model's own" if chat.tokenizer.chat_template else DEFAULT_TEMPLATE)


def _note_chat(job: Job, config: TrainConfig, dataset: Artifact, chat: ChatFormat) -> None:
    """Say how conversations are written, where that isn't plain: without a template of the model's, and tools."""
    if not config.template and not chat.tokenizer.chat_template:
        job.log.note(
            f"the base model brings no chat template: conversations are written in {DEFAULT_TEMPLATE!r} "
            f"(others by --set template=, one of {', '.join(shipped_templates())})"
        )

    if calls := datasets.tool_turns(dataset):
        how = "in the chat template's own form" if chat.speaks_tools else "as text: the chat template knows no tools"
        job.log.note(f"{calls:,} turns define or call tools, written {how}")


def _limit(config: TrainConfig, base: LoadedModel, found: Found) -> Limit:
    """Return how long a row may be, by what is set, by the model's context or by windows that aren't passed on."""
    longest = min(config.max_length or base.context, base.context)
    known = base.model.get_input_embeddings().weight.shape[0]
    window = _window(base.model.config, found)
    if window < longest:
        why = "fit: layers of this model look back no further, and don't say so to the attention that is trained with"
        hint = "Shorten the row, or choose another base model: max_length can't help."
        return Limit(window, "longer than the window", why, hint, known=known)
    if longest == base.context:
        hint = "The model's context has no more: shorten the row, or choose another base model."
        return Limit(longest, hint=hint, known=known)
    return Limit(longest, known=known)


def _window(config: Any, found: Found) -> int:
    """Return the tokens of the longest row for which our attention is that of every layer."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    if not found.ours:
        return _NO_WINDOW
    if "chunked_attention" in kinds:  # the model's own masks alone know where a chunk ends
        return int(text.attention_chunk_size)
    window = getattr(text, "sliding_window", None)
    slides = "sliding_attention" in kinds if kinds else getattr(text, "use_sliding_window", True)
    return int(window) if window and slides and not found.windows else _NO_WINDOW


def _precision(config: TrainConfig, device: str) -> tuple[str, str]:
    return devices.faster_precision(device) if config.precision == "auto" else (config.precision, "as it was set")


def free_memory(config: TrainConfig) -> int:
    """Return the bytes of the host that are free for each of the run's ranks on it, also where one process plans it."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(config.ranks_here)))
    return devices.hardware(Path.cwd()).memory_free // here  # a container's limit counts

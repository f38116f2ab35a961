"""What is said of a run before it begins: of its data and its model, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from honed.errors import ModelError
from honed.models import load as models
from honed.train import adapters, reach
from honed.train.defaults import epoch_steps
from honed.train.layout import Layout, lacking
from honed.train.prepare import Prepared
from honed.train.rows import LEFT_OUT, Rows
from honed.train.source import Stream


def of_data(run: Prepared) -> tuple[str, ...]:
    """Return what is to be said of the rows, as they are read and measured."""
    return (*_of_stream(run), *_of_longest(run), *_of_heldout(run), *_of_best(run), *_of_ratings(run))


def of_model(run: Prepared) -> tuple[str, ...]:
    """Return what of the base isn't trained, or isn't published."""
    return (*_of_part(run), *_of_experts(run), *_of_layers(run), *_of_marks(run), *_of_sampling(run), *_of_gpus(run))


def of_ranks(layout: Layout, ranks: int, *, resumed: bool) -> tuple[str, ...]:
    """What is to be said of ranks that have nothing to do in most steps: they divide a step by its passes."""
    few = lacking(layout.steps, ranks)
    if 2 * few <= len(layout.steps):
        return ()
    way = "passes are those of the first attempt" if resumed else "lower pack_tokens, or raise batch_tokens"
    return (
        f"{few} of {len(layout.steps)} steps have fewer passes than there are ranks ({ranks}), some of which then "
        f"wait: {way}",
    )


def _of_stream(run: Prepared) -> list[str]:
    """What is to be said of a stream before it starts; nothing of rows in memory."""
    if not isinstance(run.train, Stream):
        return []
    stream, batch = run.train, run.settings.batch_tokens
    steps = max(1, round(run.settings.epochs * epoch_steps(stream.examples, stream.tokens, batch)))
    sample = stream.sample.count
    said = [
        f"{stream.rows} {stream.sample.unit} are streamed: about {steps} steps (lengths and common prefixes are those "
        f"of a sample of {sample}); those that can't be used are listed in {run.job.path / LEFT_OUT} as they are met"
    ]
    window = stream.window_rows(run.config.stream_rows, batch)
    if window * stream.tokens < batch * stream.rows:
        said.append(f"steps are smaller than batch_tokens {batch}: {window} rows (stream_rows) hold fewer tokens")
    return said


_LONG = 4
"""A row of so many passes' tokens decides the peak by itself, and may come late: the order is random."""


def _of_longest(run: Prepared) -> list[str]:
    """Which row takes the most memory, where it is far larger than the passes of all others."""
    sample = run.train.sample if isinstance(run.train, Stream) else run.train
    longest = max((len(row.ids) for example in sample.encoded for row in example.rows), default=0)
    if longest <= _LONG * run.settings.pack_tokens:
        return []
    return [
        f"the longest row has {longest} tokens, and a pass usually {run.settings.pack_tokens} at most: it decides how "
        "much memory is needed (max_length leaves longer rows out, and lists them)"
    ]


def _of_heldout(run: Prepared) -> tuple[str, ...]:
    """What rows that are learned lack where none is held out; that none of those can be measured is said elsewhere."""
    heldout, config = run.heldout, run.config
    if config.objective != "sft" or config.eval_rows == 0 or heldout.encoded or heldout.left_out:
        return ()
    return (
        "no held-out rows: nothing will show whether it learned more than its rows by heart; import the data again "
        "with some: honed data import FILE --as NAME --heldout 0.2",
    )


def _of_best(run: Prepared) -> tuple[str, ...]:
    """What the best weights are the best at, where that isn't what is learned."""
    if not run.settings.keep_best or run.config.objective == "sft":
        return ()
    return (
        f"keep_best: by the loss of held-out rows, which isn't what {run.config.objective} lowers: "
        "the weights that are kept may be early ones",
    )


def _of_ratings(run: Prepared) -> tuple[str, ...]:
    """Which weight kto lacks where there are far more answers of one kind than of the other, and none was set.

    All good answers are to weigh 1 to 4/3 times what all bad ones do: Ethayarajh et al. 2024, eq. 8, by TRL's reading.
    """
    given = run.config.preference
    if run.config.objective != "kto" or given.desirable is not None or given.undesirable is not None:
        return ()
    assert isinstance(run.train, Rows), "source.py streams no objective that needs a reference"
    good = sum(one.good for one in run.train.encoded)
    bad = len(run.train.encoded) - good
    if bad <= 3 * good and good <= 3 * bad:  # beyond, a whole number is within what is advised
        return ()
    counts = f"kto: there are {good} good answers and {bad} bad ones"
    if not good or not bad:
        return (f"{counts}: no weight makes up for a kind that is missing",)
    way = f"undesirable={good // bad}" if good > bad else f"desirable={-(-bad // good)}"
    return (
        f"{counts}, each of the same weight: its authors advise weights by which the good ones weigh as much in all as "
        f"the bad ones, or up to a third more: --set preference.{way}",
    )


def _of_part(run: Prepared) -> tuple[str, ...]:
    """That towers are lost, where transformers loads the part of the base that reads text."""
    if not run.base.text_part:
        return ()
    return (
        f"{run.base.ref}: transformers loads the part that reads text ({run.base.model.config.model_type}): the model "
        "that is made takes no pictures or sound",
    )


def _of_experts(run: Prepared) -> tuple[str, ...]:
    """What of experts is left out: those kept together in one tensor get no adapters, for they are no linear layers."""
    modules = [module for module in run.base.model.modules() if not isinstance(module, nn.Conv1d)]
    left = [p for module in modules for p in module.parameters(recurse=False) if p.ndim == 3]
    if not left:
        return ()
    if run.adapters is None:
        return _of_balance(run.base.model)
    share = sum(p.numel() for p in left) / sum(p.numel() for p in run.base.model.parameters())
    return (
        f"weights {run.settings.weights}: {len(left)} tensors of experts, {100 * share:.0f} % of the weights, are no "
        "linear layers: they stay as they are, without adapters",
    )


def _of_balance(model: PreTrainedModel) -> tuple[str, ...]:
    """Which loss is left out that would keep experts evenly used: the base's settings say how much it weighs."""
    stated = model.config.get_text_config().to_dict()
    return tuple(
        f"{name} {value:g} of the base's settings is no part of the loss: routers are trained with all other weights, "
        "and nothing keeps their experts evenly used"
        for name, value in stated.items()
        if "aux_loss" in name and isinstance(value, float) and value > 0
    )


def _of_layers(run: Prepared) -> list[str]:
    """Which linear layers stay as they are, and which adapters PEFT will not read as what they are."""
    model, weights = run.base.model, run.settings.weights
    apart = adapters.left_out(model)
    said = []
    if run.adapters is None:
        left = [layer for layer, why in apart.items() if why == reach.NOT_TEXT]
        return [f"{_layers(left)} stay as they are: {reach.NOT_TEXT}"] if left else []
    for why in dict.fromkeys(apart.values()):
        left = [layer for layer in apart if apart[layer] == why]
        said.append(f"weights {weights}: {_layers(left)} stay as they are, without adapters: {why}")
    misread = reach.misread(model, adapters.linear_layers(model))
    named = set(adapters.chosen(model, run.adapters.targets)).intersection(misread)
    if named:
        said.append(
            f"weights {weights}: PEFT can't load the adapter of this run: it takes {_layers(sorted(named))} for "
            "experts; the published model has it merged, and is right"
        )
    elif misread and run.adapters.targets is None:
        said.append(
            f"weights {weights}: {_layers(misread)} get no adapters: PEFT would take them for experts; "
            "lora.targets can name them, for the merged model alone"
        )
    return said


def _of_marks(run: Prepared) -> tuple[str, ...]:
    """Marks of a template of ours that the base may not know: adapters leave embeddings and head as they are."""
    if run.adapters is None or run.config.template is None:
        return ()
    chat = run.base.chat
    try:
        own = models.load_chat(run.config.base, run.job.workspace).stop_ids
    except ModelError:  # a template that ends no answer, say
        own = frozenset([chat.tokenizer.eos_token_id])
    if not (new := sorted(chat.stop_ids - own)):
        return ()
    marks = ", ".join(chat.decode([one], special=True) for one in new)
    return (
        f"weights {run.settings.weights}: template {run.config.template} ends answers with {marks}, and adapters can't "
        "teach a token that the base never learned: a model that doesn't stop needs weights: full, or template: plain",
    )


_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def _of_sampling(run: Prepared) -> tuple[str, ...]:
    """Which of the base's defaults for sampling the model that is made doesn't have."""
    stated = run.base.model.generation_config
    given = {name: getattr(stated, name, None) for name in _SAMPLING} if stated is not None else {}
    said = ", ".join(f"{name} {value:g}" for name, value in given.items() if value is not None)
    if not said:
        return ()
    return (
        f"the base's settings for sampling ({said}) aren't published: they weren't measured on the model that is made, "
        "and a server's own defaults apply where a request gives none",
    )


def _of_gpus(run: Prepared) -> tuple[str, ...]:
    """That one GPU of several is used."""
    count = torch.cuda.device_count() if run.settings.device == "cuda" and run.config.ranks == 1 else 1
    return (f"{count} GPUs are here, and one is used: ranks 0 takes all of them",) if count > 1 else ()


def _layers(names: Sequence[str]) -> str:
    ends = sorted({name.rpartition(".")[2] for name in names})
    return f"linear layers {', '.join(ends[:8])}{', ...' if len(ends) > 8 else ''} ({len(names)})"

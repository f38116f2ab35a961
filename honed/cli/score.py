"""``honed data score``: what rows are worth by several scores, summed up; what ``select`` shares with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.cli.tables import columns, short
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.data.score.config import Measuring

F = TypeVar("F", bound=Callable[..., Any])


def measuring_options(function: F) -> F:
    """Add ``--by``, ``--model``, ``--target``; the command gets ``by: tuple[str, ...]`` and two that may be None."""
    by = click.option(
        "--by", multiple=True, metavar="NAME,...", help="Scores: length, quality, ifd, diversity, similarity, judge."
    )
    model = click.option("--model", metavar="MODEL", help="Base model that reads the rows.")
    target = click.option("--target", metavar="NAME", help="Dataset that similarity is to.")
    return by(model(target(function)))


def names(by: Sequence[str]) -> tuple[str, ...] | None:
    """Return ``--by ifd,quality --by length`` as single names; None if nothing was given."""
    return tuple(name.strip() for one in by for name in one.split(",")) or None


def measured(measure: Measuring, flags: Mapping[str, Any]) -> Measuring:
    """Return the settings with what ``--model`` and ``--target`` say."""
    return measure.model_copy(update={key: flags[key] for key in ("model", "target") if flags[key] is not None})


@click.command()
@click.argument("name")
@measuring_options
@config_options
@workspace_option
@json_option
def score(
    name: str, config: Path | None, sets: tuple[str, ...], workspace: Workspace, as_json: bool, **flags: Any
) -> None:
    """Score the training rows of a dataset: each row's scores in a file, and what each score likes and dislikes.

    length and quality read the texts alone; ifd, diversity and similarity read them with a base model, judge asks an
    endpoint. What they gave is kept: no row is read, or paid for, twice with the same settings.

    \b
    honed data score support
    honed data score support --by quality,ifd --model smollm2-135m
    honed data score support --by similarity --target exam --model smollm2-135m
    """
    from honed.cli.progress import follow
    from honed.config import load
    from honed.data.score.config import ScoreConfig
    from honed.data.score.run import run

    settings = load(ScoreConfig, "score", config, sets, {"dataset": name, "by": names(flags["by"])})
    job = run(workspace, settings.model_copy(update={"measure": measured(settings.measure, flags)}))
    result = follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    click.echo(_table(result))
    for title, one in result["scores"].items():
        for end in ("highest", "lowest"):
            for row in one.get(end, [])[:2]:
                say(f"{title}, {end}: {row['score']:.3f}  {short(row['prompt'], 70)} -> {short(row['answer'], 70)}")
    say(f"all scores: {result['file']}")
    say(f"next: honed data select {result['dataset']} --by {next(iter(result['scores']))} --count N --as NEW")


def _table(result: dict[str, Any]) -> str:
    heads = ("score", "rows", "without", "least", "25 %", "median", "75 %", "most", "with length")
    lines = []
    for name, one in result["scores"].items():
        ends = [f"{one[key]:.3f}" if key in one else "" for key in ("least", "q25", "median", "q75", "most")]
        along = one.get("with_length")
        without = sum(one["missing"].values())
        lines.append((name, one["rows"], without, *ends, "" if along is None else f"{along:+.2f}"))
    return columns(heads, lines)

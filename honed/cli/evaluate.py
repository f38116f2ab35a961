"""``honed evaluate MODEL --data NAME``: one model's answers and scores on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_option
from honed.store.workspace import Workspace


@click.command()
@click.argument("model")
@click.option("--data", metavar="NAME", help="Dataset whose rows are answered: name or name@vN.")
@click.option("--split", type=click.Choice(["heldout", "train"]), help="Which rows.  [default: heldout]")
@click.option("--rows", type=int, metavar="N", help="How many rows, chosen by hash.  [default: all]")
@click.option("--max-tokens", type=int, metavar="N", help="Longest answer.  [default: 256]")
@click.option("--batch-size", type=int, metavar="N", help="Answers that are made together.  [default: 32]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")
@config_options
@workspace_option
@json_option
def command(
    model: str,
    data: str,
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace,
    as_json: bool,
    **flags: Any,
) -> None:
    """Measure MODEL on rows that it was never trained on.

    Each answer is judged by its row's own verifier; rows without one count for the held-out loss only. Two
    evaluations of the same rows are then paired by `honed compare`.

    MODEL is name@vN, a hub id, a folder, a GGUF file, or smollm2-135m.
    """
    from honed import config as settings
    from honed.cli import progress
    from honed.evaluate.config import EvaluateConfig
    from honed.evaluate.run import run

    wanted = settings.load(EvaluateConfig, "evaluate", config, sets, {"model": model, "data": data, **flags})
    job = run(workspace, wanted)
    say(f"job {job.id}")
    result = progress.follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    click.echo(_summary(job.id, result))


def _summary(id_: str, result: dict[str, Any]) -> str:
    from honed.cli.tables import columns, facts
    from honed.evaluate import words
    from honed.evaluate.outcome import result as outcome_of

    found = outcome_of(result)
    lines = [("model", found.model), ("data", f"{found.data}, {found.rows} rows of {found.split}")]
    if found.pass_rate is not None and found.interval is not None and found.floors:
        said = f"{words.percent(found.pass_rate, 1)} of {found.n} ({words.span(found.interval, digits=1)})"
        constant = f"{words.percent(found.floors.constant.rate, 1)} by always {found.floors.constant_answer!r}"
        lines += [
            ("pass rate", said),
            ("floors", f"{constant}; {words.percent(found.floors.echo.rate, 1)} by echoing the prompt"),
        ]
    if found.loss is not None:
        lines.append(("held-out loss", f"{found.loss:.4f} nats per token, perplexity {found.perplexity:.2f}"))
    if found.left_out:
        lines.append(("without a loss", f"{len(found.left_out)} rows; see left_out in the job's result.json"))
    speed = f", {found.tokens_per_second:.0f} tokens/s" if found.tokens_per_second else ""
    lines.append(("took", f"{words.seconds(found.seconds)}{speed}, peak {words.bytes_(found.peak_rss_bytes)}"))
    cells = [
        [f"{tag}: {words.plain(name)}", cell.n, words.percent(cell.rate, 1), words.span(cell.interval, digits=1)]
        for tag, group in found.segments.items()
        for name, cell in group.items()
    ]
    table = columns(["group", "rows", "pass rate", "95 % interval"], cells) + "\n\n" if cells else ""
    return f"{facts(lines)}\n\n{table}Evaluation {id_}. Pair it with another: honed compare BASE_EVAL {id_}"

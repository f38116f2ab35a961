"""``honed evaluate MODEL --data NAME``: one model's answers and scores; with ``--suite`` on a benchmark's prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_if_any_option
from honed.errors import ConfigError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.outcome import Outcome


@click.command()
@click.argument("model", required=False)
@click.option("--data", metavar="NAME", help="Dataset whose rows are answered: name or name@vN.")
@click.option(
    "--suite",
    metavar="NAME",
    multiple=True,
    help="Suite in place of a dataset: ifeval, benefits (ten of them), ..., a folder, lm-eval:TASK or "
    "inspect:FILE.py@TASK; may be given several times.",
)
@click.option("--scorer", metavar="NAME", help="Judges rows without a check: exact, f1, rouge, or FILE.py:FUNCTION.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Score the answers of a JSONL file (prompt, response) to the suite; no model is loaded.",
)
@click.option("--split", type=click.Choice(["heldout", "train"]), help="Which rows.  [default: heldout]")
@click.option("--rows", type=int, metavar="N", help="How many rows, chosen by hash.  [default: all]")
@click.option("--max-tokens", type=int, metavar="N", help="Longest answer.  [default: 256]")
@click.option("--batch-size", type=int, metavar="N", help="Answers that are made together.  [default: 32]")
@click.option("--ranks", type=int, metavar="N", help="Processes that share the rows.  [default: 1]")
@click.option("--endpoint", metavar="URL", help="Ask a served model (vLLM, ...): http://127.0.0.1:8000/v1")
@click.option("--model", "served", metavar="NAME", help="MODEL, by the name that --endpoint knows it by.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")
@config_options
@workspace_if_any_option
@json_option
def command(
    config: Path | None,
    sets: tuple[str, ...],
    workspace: Workspace | None,
    as_json: bool,
    answers: Path | None,
    served: str | None,
    **flags: Any,
) -> None:
    """Measure MODEL on rows that it was never trained on, or on the prompts of a suite.

    Each answer is judged by its row's own verifier; rows without one count for the held-out loss only. Two
    evaluations of the same rows are then paired by `honed compare`.

    With --answers, the stored answers of any model to a suite are scored, and nothing is generated.

    With --endpoint, the model that a server runs is asked; MODEL is the name that it is served by.

    MODEL is name@vN, a hub id, a folder, a GGUF file, or smollm2-135m.
    """
    flags["suite"] = flags["suite"] or None
    flags["model"] = _one_model(flags["model"], served)
    if answers is not None:
        _score_stored(answers, flags, sets, config, as_json)
        return

    from honed import config as settings
    from honed.cli import progress
    from honed.evaluate.config import EvaluateConfig
    from honed.evaluate.run import run

    if endpoint := flags.pop("endpoint"):
        sets = (*sets, f"endpoint.base_url={endpoint}")
    wanted = settings.load(EvaluateConfig, "evaluate", config, sets, flags)
    job = run(workspace or workspaces.find(Path.cwd()), wanted)
    say(f"job {job.id}")
    result = progress.follow(job, as_json)
    if as_json:
        emit_json({"job": job.id, **result})
        return
    click.echo(_summary(job.id, result))


def _one_model(given: str | None, served: str | None) -> str | None:
    """Return the model, which may be named in two ways."""
    if given and served and given != served:
        raise ConfigError(f"MODEL {given} and --model {served} are two models", "Name it once.")
    return given or served


def _score_stored(
    answers: Path, flags: dict[str, Any], sets: tuple[str, ...], config: Path | None, as_json: bool
) -> None:
    """Score stored answers: the suite is all that may be set."""
    given = [name for name, value in flags.items() if value is not None and name != "suite"]
    given += ["set"] if sets else []
    given += ["config"] if config else []
    if given:
        name = "MODEL" if given[0] == "model" else f"--{given[0].replace('_', '-')}"
        raise ConfigError(f"--answers and {name} can't be given together", "Stored answers are scored as they are.")
    if flags["suite"] is None:
        raise ConfigError("--answers needs a suite", "Name it: --suite ifeval, --suite ifbench or --suite FOLDER.")

    from honed.cli.suite_table import notes, table
    from honed.evaluate.suites import chosen, scores, stored

    wanted = chosen.read(flags["suite"])
    matched = stored.read(answers, wanted)
    found = scores.score(wanted, matched.answers)
    for line in notes(matched):
        say(line)
    if as_json:
        emit_json({**found.model_dump(mode="json"), "answers": matched.model_dump(mode="json", exclude={"answers"})})
        return
    click.echo(table(found))


def _summary(id_: str, result: dict[str, Any]) -> str:
    from honed.cli.suite_table import table
    from honed.cli.tables import columns, facts
    from honed.evaluate import words
    from honed.evaluate.outcome import result as outcome_of

    found = outcome_of(result)
    what = found.data if found.suite or found.harness else f"{found.data}, {found.rows} rows of {found.split}"
    lines = [("model", found.model), ("data", what), *_rates(found), *_graded(found), *_harness(found)]
    if found.loss is not None:
        size = f", {found.bits_per_byte:.4f} bits per byte" if found.bits_per_byte else ""
        lines.append(("held-out loss", f"{found.loss:.4f} nats per token, perplexity {found.perplexity:.2f}{size}"))
    if found.left_out:
        lines.append(("without a loss", f"{len(found.left_out)} rows; see left_out in the job's result.json"))
    lines += [("not known", what) for what in found.unknown]
    if found.cached_answers:
        lines.append(
            ("from the cache", f"{found.cached_answers} of {found.answers} answers, made before by this model")
        )
    speed = f", {found.tokens_per_second:.0f} tokens/s" if found.tokens_per_second else ""
    lines.append(("took", f"{words.seconds(found.seconds)}{speed}, peak {words.bytes_(found.peak_rss_bytes)}"))
    cells = [
        [
            f"{tag}: {words.plain(name)}",
            cell.n,
            words.percent(cell.rate, 1),
            words.span(cell.interval, digits=1),
            words.percent(group.guarded[name].rate, 1),
            f"{group.losses[name].loss:.3f}" if name in group.losses else "",
        ]
        for tag, group in found.groups.items()
        for name, cell in group.passed.items()
    ]
    header = ["group", "rows", "pass rate", "95 % interval", "guarded", "loss"]
    groups = columns(header, cells) + "\n\n" if cells else ""
    for tag, group in found.groups.items():
        groups += f"{tag}: {words.too_few(group.small)}\n" if group.small else ""
        groups += f"worst: {words.behind(tag, group.worst)}\n" if group.worst else ""
    groups = groups.rstrip("\n") + "\n\n" if groups else ""
    suite = f"{table(found.suite)}\n\n" if found.suite else ""
    more = f"As a page: honed report {id_}. Pair it with another: honed compare BASE_EVAL {id_}"
    return f"{facts(lines)}\n\n{suite or groups}Evaluation {id_}. {more}"


def _graded(found: Outcome) -> Iterator[tuple[str, str]]:
    """Say the mean value of graded answers, and how many families of rows were passed whole."""
    from honed.evaluate import reliable, words

    if found.value:
        mean = f"{found.value.mean:.3f} ({words.span(found.value.interval, 1, 3)})"
        yield "mean value", f"{mean}, of {found.value.n} answers graded from 0 to 1"
    for suite, one in found.reliable.items():
        whole = (
            f"{words.percent(one.whole.rate, 1)} of {one.whole.n} families ({words.span(one.whole.interval, digits=1)})"
        )
        mean = f"mean of {one.rows} rows {words.percent(one.mean, 1)} ({words.span(one.interval, digits=1)}, by family)"
        yield f"{suite} {reliable.name(one.k)}".strip(), f"{whole}; {mean}"


def _harness(found: Outcome) -> Iterator[tuple[str, str]]:
    """Say the numbers of another harness as it gives them, and which of its metrics says that a row passes."""
    if found.harness is None:
        return
    kind = f"{found.harness.harness} {found.harness.version}"
    for one in found.harness.metrics:
        error = f" (standard error {one.error:.4f})" if one.error is not None else ""
        yield kind, f"{one.task} {one.metric}: {one.value:.4f}{error}"
    for task, metric in found.harness.passed_by.items():
        yield "a row passes", f"in {task} by {metric}"


def _rates(found: Outcome) -> list[tuple[str, str]]:
    """Say the pass rate beside its floors; a suite's own table says both."""
    from honed.evaluate import words

    if found.suite or found.pass_rate is None or found.interval is None:
        return []
    said = f"{words.percent(found.pass_rate, 1)} of {found.n} ({words.span(found.interval, digits=1)})"
    lines = [("pass rate", said)]
    if found.floors:
        constant = f"{words.percent(found.floors.constant.rate, 1)} by always {found.floors.constant_answer!r}"
        echo = f"{words.percent(found.floors.echo.rate, 1)} by echoing the prompt"
        lines.append(("floors", f"{constant}; {echo}"))
    if found.guarded:
        share = f"{words.percent(found.guarded.rate, 1)} ({words.span(found.guarded.interval, digits=1)})"
        lines.insert(1, ("guarded", f"{share}: passed by answers that aren't vacuous"))
    if found.base:
        rates = f"{words.percent(found.base.rate.rate, 1)}, guarded {words.percent(found.base.guarded.rate, 1)}"
        lines.append(("base floor", f"{rates} by {found.base.model}"))
    return lines

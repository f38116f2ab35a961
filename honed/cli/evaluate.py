"""``honed evaluate MODEL --data NAME``: one model's answers and scores; with ``--suite`` on a benchmark's prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from honed.cli.options import config_options, emit_json, json_option, say, workspace_if_any_option
from honed.errors import ConfigError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.config import EvaluateConfig


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
@click.option("--batch-size", type=int, metavar="N", help="Answers that are made together at most.  [default: 96]")
@click.option("--ranks", type=int, metavar="N", help="Processes that share the rows.  [default: 1]")
@click.option("--endpoint", metavar="URL", help="Ask a served model (vLLM, ...): http://127.0.0.1:8000/v1")
@click.option("--model", "served", metavar="NAME", help="MODEL, by the name that --endpoint knows it by.")
@click.option("--base", metavar="EVAL", help="Evaluation of the base model on the same rows, shown as a floor.")
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

    With --base, what the base model passes stands beside every pass rate, as one more floor.

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
    """Score stored answers: the suite and the segments are all that may be set."""
    given = [name for name, value in flags.items() if value is not None and name != "suite"]
    given += ["config"] if config else []
    if given:
        name = "MODEL" if given[0] == "model" else f"--{given[0].replace('_', '-')}"
        own = (
            "Every row of a suite has its own check."
            if given[0] == "scorer"
            else "Stored answers are scored as they are."
        )
        raise ConfigError(f"--answers and {name} can't be given together", own)
    if flags["suite"] is None:
        raise ConfigError("--answers needs a suite", "Name it: --suite ifeval, --suite ifbench or --suite FOLDER.")

    from honed.cli.suite_table import groups, notes, table
    from honed.cli.tables import facts
    from honed.evaluate import stored as judged
    from honed.evaluate import summary
    from honed.evaluate.suites import chosen, stored

    segments = _segments(answers, flags["suite"], sets)
    wanted = chosen.read(flags["suite"])
    matched = stored.read(answers, wanted)
    made = judged.evaluation(wanted, matched, answers.stem, segments.segments, segments.rules)
    found = made.outcome.suite
    assert found is not None, "a suite was answered"
    for line in notes(matched):
        say(line)
    if as_json:
        emit_json({**found.model_dump(mode="json"), "answers": matched.model_dump(mode="json", exclude={"answers"})})
        return
    lines = summary.lines(made.outcome)
    click.echo("\n\n".join([table(found), *([facts(lines)] if lines else []), *groups(made.outcome)]))


def _segments(answers: Path, suite: tuple[str, ...], sets: tuple[str, ...]) -> EvaluateConfig:
    """Return the settings of stored answers, of which ``--set`` may say the segments. Raises ``ConfigError``."""
    from honed import config as settings
    from honed.evaluate.config import EvaluateConfig
    from honed.evaluate.run import ruled

    wanted = settings.load(EvaluateConfig, "evaluate", None, sets, {"model": answers.stem, "suite": suite})
    more = sorted(wanted.model_fields_set - {"model", "suite", "segments", "rules"})
    if more:
        hint = "Stored answers are scored as they are; 'segments' is all that can be set."
        raise ConfigError(f"--answers and --set {more[0]} can't be given together", hint)
    return ruled(wanted)


def _summary(id_: str, result: dict[str, Any]) -> str:
    from honed.cli.suite_table import groups, table
    from honed.cli.tables import facts
    from honed.evaluate import summary, words
    from honed.evaluate.outcome import result as outcome_of

    found = outcome_of(result)
    what = found.data if found.suite or found.harness else f"{found.data}, {found.rows} rows of {found.split}"
    lines = [("model", found.model), ("data", what), *summary.lines(found)]
    cached = [f"{found.cached_answers} of {found.answers} answers"] if found.cached_answers else []
    cached += [f"{found.cached_losses} of {found.loss_rows} losses"] if found.cached_losses else []
    if cached:
        lines.append(("from the cache", f"{' and '.join(cached)}, made before by this model"))
    speed = f", {found.tokens_per_second:.0f} tokens/s" if found.tokens_per_second else ""
    lines.append(("took", f"{words.seconds(found.seconds)}{speed}, peak {words.bytes_(found.peak_rss_bytes)}"))
    more = f"As a page: honed report {id_}. Pair it with another: honed compare BASE_EVAL {id_}"
    suite = [table(found.suite, found.base.totals if found.base else None)] if found.suite else []
    return "\n\n".join([facts(lines), *suite, *groups(found), f"Evaluation {id_}. {more}"])

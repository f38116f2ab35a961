"""An evaluation that a command is given: a job's name, or a file of stored answers with their suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from honed.cli.options import say
from honed.errors import ConfigError
from honed.store import workspace as workspaces
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.evaluate.compare import Evaluation

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Given:
    """An evaluation, and its job's folder; stored answers have none."""

    evaluation: Evaluation
    folder: Path | None


def stored_options(function: F) -> F:
    """Add ``--answers`` and ``--suite``; the command gets ``answers: Path | None`` and ``suite: str | None``."""
    answers = click.option(
        "--answers",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="In place of EVAL: a JSONL file of stored answers (prompt, response).",
    )
    suite = click.option("--suite", metavar="NAME", help="The suite that was answered: ifeval, ifbench or a folder.")
    return answers(suite(function))


def read(workspace: Workspace | None, job: str | None, answers: Path | None = None, suite: str | None = None) -> Given:
    """Read a finished evaluation job, or judge stored answers. Raises ``ConfigError`` unless one of both is given."""
    if (job is None) == (answers is None):
        hint = "Name a job of honed evaluate, or give --answers FILE --suite NAME."
        raise ConfigError("give either an evaluation or --answers", hint)
    if answers is None:
        from honed.evaluate import compare
        from honed.jobs import job as jobs

        if suite is not None:
            raise ConfigError("--suite goes with --answers only", "An evaluation knows what was answered.")
        assert job is not None
        found = jobs.find(workspace or workspaces.find(Path.cwd()), job)
        return Given(compare.read(found), found.path)
    if suite is None:
        raise ConfigError("--answers needs a suite", "Name it: --suite ifeval, --suite ifbench or --suite FOLDER.")

    from honed.cli.suite_table import notes
    from honed.evaluate import stored as judged
    from honed.evaluate.suites import chosen, stored

    wanted = chosen.read([suite])
    matched = stored.read(answers, wanted)
    for line in notes(matched):
        say(line)
    return Given(judged.evaluation(wanted, matched, answers.stem), None)

"""The tasks of whichever harness they are of, run in the evaluation's own process."""

from __future__ import annotations

from collections.abc import Callable

from honed.evaluate.answerer import Answerer
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.harness import names
from honed.evaluate.harness.asking import Asking
from honed.evaluate.harness.ran import Ran
from honed.jobs.job import Job


def run(job: Job, settings: EvaluateConfig, answerer: Answerer, check: Callable[[], None]) -> Ran:
    """Run the tasks that the settings name. ``check`` is called between answers and may raise to stop.

    Raises what the harness's own module says.
    """
    assert settings.suite is not None, "tasks are suites"
    asking = Asking(job, answerer, settings.max_tokens, settings.batch_size, check, settings.segments)
    tasks = names.tasks(settings.suite)
    if names.harness(settings.suite) == "lm-eval":
        from honed.evaluate.harness import lm_eval_tasks

        return lm_eval_tasks.run(tasks, settings.harness, asking, settings.rows, settings.seed)
    from honed.evaluate.harness import inspect_tasks

    return inspect_tasks.run(tasks, settings.harness, asking, settings.rows, settings.seed)

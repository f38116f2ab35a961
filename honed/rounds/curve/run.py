"""The door to a learning curve: workspace + settings -> a job that trains and measures each size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from honed.errors import ConfigError, DataError
from honed.evaluate import families
from honed.evaluate.config import EvaluateConfig
from honed.evaluate.stats import SMALLEST
from honed.jobs import job as jobs
from honed.jobs import launch
from honed.jobs.job import Job
from honed.models.load import pinned
from honed.rounds.curve import plan, sizes
from honed.rounds.curve.config import CurveConfig
from honed.rounds.curve.sizes import Size
from honed.store import artifacts, datasets
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace
from honed.train.config import TrainConfig
from honed.train.defaults import check_installed
from honed.train.objectives.kinds import KINDS
from honed.train.run import check_name, ranks_of

_NAMED = 48
"""Letters of a dataset's name in the names of the models: their sizes come behind."""


def run(
    workspace: Workspace,
    training: TrainConfig,
    wanted: Sequence[Size],
    evaluation: Mapping[str, Any] | None = None,
    reach: Sequence[float] = (),
) -> Job:
    """Check what can be checked at once, fix every version, write the job's folder and start its worker.

    ``wanted`` are the sizes (``sizes.parse``), ``evaluation`` settings of the evaluations, ``reach`` losses whose rows
    are asked for. Raises ``ConfigError`` for
    sizes that make no curve or a setting that the curve itself decides, ``DataError`` if too few rows are held out,
    ``StoreError`` if there is no such dataset; before anything is written.
    """
    if reach and not KINDS[training.objective].likelihood:
        what = f"--reach is about the held-out loss, which isn't what {training.objective} lowers"
        raise ConfigError(what, "Leave it out: the curve goes by the pass rate of rows with a verifier.")
    config, said = resolved(workspace, training, wanted, evaluation or {})
    if wrong := [loss for loss in reach if not loss > 0]:
        raise ConfigError(f"--reach {wrong[0]:g}: a loss is above 0", "Give nats per token, as the curve shows them.")
    config = config.model_copy(update={"reach": tuple(reach)})
    job = jobs.create(workspace, "curve", config)
    for text in said:
        job.log.note(text)
    launch.start(job)
    return job


def resolved(
    workspace: Workspace, training: TrainConfig, wanted: Sequence[Size], evaluation: Mapping[str, Any]
) -> tuple[CurveConfig, tuple[str, ...]]:
    """Return the settings with every version fixed, and what is to be said of the sizes; checked as ``run`` says."""
    if training.rows is not None:
        raise ConfigError("--curve and rows both say how many rows are trained on", "Leave rows out.")
    dataset = artifacts.resolve(workspace, "datasets", training.data)
    if (held_out := int(dataset.manifest.facts["heldout"])) < SMALLEST:
        what = f"{dataset.ref} has {held_out or 'no'} held-out rows, and fewer than {SMALLEST} show nothing"
        raise DataError(what, "Hold more out: import the data again with --heldout.")
    count, unit = plan.examples(dataset, training.objective)
    fitting, said = sizes.within(wanted, count, unit)
    name = training.name or f"{dataset.manifest.name[:_NAMED]}-curve"
    check_name(workspace, f"{name}-{fitting[-1]}")
    own = training.model_dump(mode="json", exclude={"data", "base", "name", "rows"}, exclude_defaults=True)
    if training.ranks == 0:  # one per GPU, of this machine now
        own["ranks"] = ranks_of(0, training.on)
    config = CurveConfig(
        data=dataset.ref,
        base=pinned(workspace, training.base),
        name=name,
        sizes=fitting,
        train=own,
        evaluate={"rows": min(plan.HELD_OUT, held_out), **evaluation},
        seed=training.seed,
    )
    check_installed(training.weights, training.on)
    plan.training(config, fitting[-1], dataset.ref, {})
    _check_measured(dataset, training.objective, plan.evaluation(config, config.base, dataset.ref))
    return config, said


def _check_measured(dataset: Artifact, objective: str, evaluation: EvaluateConfig) -> None:
    """Raise ``ConfigError`` if too few held-out rows are measured, ``DataError`` if these show too little.

    Rows of one family are one piece of evidence (``families``); those of a pass rate need a verifier.
    """
    held_out = int(dataset.manifest.facts["heldout"])
    measured = min(evaluation.rows or held_out, held_out)
    if measured < SMALLEST:
        raise ConfigError(f"evaluate.rows {measured}: fewer than {SMALLEST} rows show nothing", "Leave it out.")
    by_pass = not KINDS[objective].likelihood and not evaluation.scorer
    wanted = datasets.sampled(dataset, "heldout", measured, evaluation.seed)  # those that the evaluation will choose
    rows = [row for row in datasets.read(dataset, "heldout", wanted) if row.check or not by_pass]
    if by_pass and len(rows) < SMALLEST:
        what = f"of {measured} held-out rows that are measured {len(rows) or 'none'} have a verifier"
        raise DataError(
            f"{dataset.ref}: {objective} is judged by the pass rate, and {what}",
            "Hold out rows with one (field check), measure more (evaluate.rows), or train sft or orpo.",
        )
    kinds = len({families.family(row.tags, row.prompt) for row in rows})
    if kinds < SMALLEST:
        what = f"the {len(rows)} held-out rows that are measured are of {kinds} families (tag family or template)"
        raise DataError(
            f"{dataset.ref}: {what}, and fewer than {SMALLEST} show nothing",
            "Hold out rows of more of them, or measure more (evaluate.rows).",
        )

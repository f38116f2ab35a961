"""What each score reads with, checked before a job is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.data.score.config import Measuring
from honed.errors import ConfigError
from honed.models.load import pinned
from honed.store import artifacts
from honed.store.workspace import Workspace

NEEDS: Mapping[str, tuple[str, ...]] = {
    "random": (),
    "length": (),
    "quality": (),
    "ifd": ("model",),
    "diversity": ("model",),
    "similarity": ("model", "target"),
    "judge": ("judge",),
}
_JUDGE = "Set measure.judge.base_url and measure.judge.model, with --set or in a file: --config FILE"
_HINTS = {
    "model": "Give the base model: --model smollm2-135m",
    "target": "Give a dataset: --target NAME",
    "judge": _JUDGE,
}


def settled(workspace: Workspace, by: Sequence[str], measure: Measuring) -> Measuring:
    """Return the settings with every version fixed: a job may be resumed when a name means another one.

    Raises ``ConfigError`` if a score lacks what it reads with, ``StoreError`` if there is no such dataset.
    """
    for name in by:
        for need in NEEDS[name]:
            if getattr(measure, need) is None:
                what = "an endpoint" if need == "judge" else f"a {need}"
                raise ConfigError(f"{name} can't be measured without {what}", _HINTS[need])
    update = {}
    if measure.model:
        update["model"] = pinned(workspace, measure.model)
    if measure.target:
        update["target"] = artifacts.resolve(workspace, "datasets", measure.target).ref
    return measure.model_copy(update=update)

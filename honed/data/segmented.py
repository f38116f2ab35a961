"""The rules of segments that hold for a dataset: those of the nearest mix that it was made by."""

from __future__ import annotations

from honed.errors import StoreError
from honed.segments import Rule
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def rules(workspace: Workspace, dataset: Artifact) -> tuple[Rule, ...]:
    """Return the rules that a mix had, of the dataset itself or of what it was made of; none if no mix had any."""
    if stored := dataset.manifest.config.get("rules"):
        return tuple(Rule.model_validate(rule) for rule in stored)
    for ref in dataset.manifest.parents:
        try:
            found = rules(workspace, artifacts.resolve(workspace, "datasets", ref))
        except StoreError:
            continue  # it is gone, and what it was made by with it
        if found:
            return found
    return ()

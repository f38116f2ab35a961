"""The rules of segments that hold for a dataset: those of the nearest mix that it was made by."""

from __future__ import annotations

from contextlib import suppress

from honed.errors import StoreError
from honed.segments import Rule
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def rules(workspace: Workspace, dataset: Artifact) -> tuple[Rule, ...]:
    """Return the rules that a mix had, of the dataset itself or of what it was made of; none if no mix had any."""
    seen: set[str] = set()
    line = [dataset]
    while line:
        one = line.pop()
        if one.ref in seen:  # a parent that is named without its version may be the dataset itself by now
            continue
        seen.add(one.ref)
        if stored := one.manifest.config.get("rules"):
            return tuple(Rule.model_validate(rule) for rule in stored)
        for ref in reversed(list(one.manifest.parents)):
            with suppress(StoreError):  # it is gone, and what it was made by with it
                line.append(artifacts.resolve(workspace, "datasets", ref))
    return ()

"""``/api/models``: the workspace's models as JSON, with the aliases that name them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from honed.errors import RequestError, StoreError
from honed.store import aliases, artifacts
from honed.store.artifacts import Artifact
from honed.store.workspace import Workspace


def router(workspace: Workspace) -> APIRouter:
    """List models, and show one."""
    routes = APIRouter(prefix="/api/models", tags=["models"])

    @routes.get("")
    def all_models() -> dict[str, Any]:
        return {"models": listing(workspace)}

    @routes.get("/{ref}")
    def one(ref: str) -> dict[str, Any]:
        return describe(workspace, ref)

    return routes


def listing(workspace: Workspace) -> list[dict[str, Any]]:
    """Return every model's manifest with its ``ref`` and the aliases that name it now, newest first."""
    named = _named(workspace)
    found = sorted(artifacts.listing(workspace, "models"), key=lambda model: model.manifest.created, reverse=True)
    return [_plain(model, named) for model in found]


def describe(workspace: Workspace, ref: str) -> dict[str, Any]:
    """Return a model's manifest with its aliases, their moves to or from it, its parents' kinds and its children.

    The newest move comes first. ``ref`` is ``name@vN``, a name or an alias. Raises ``RequestError`` (404) if there is
    no such model.
    """
    try:
        model = artifacts.resolve(workspace, "models", aliases.resolve(workspace, ref))
    except StoreError as error:
        raise RequestError(error.message, error.hint, status=404, code="model_not_found") from error
    moves = [
        {"alias": alias, "before": before.model if before else None, **move.model_dump()}
        for alias in aliases.names(workspace)
        for before, move in _steps(workspace, alias)
        if model.ref in (move.model, before.model if before else None)
    ]
    children = [  # the hash tells the model from a dataset of the same name
        child.ref
        for child in artifacts.listing(workspace, "models")
        if child.manifest.parents.get(model.ref) == model.manifest.hash
    ]
    newest = sorted(moves, key=lambda move: move["time"], reverse=True)
    kinds = {ref: _kind(workspace, ref, hash_) for ref, hash_ in model.manifest.parents.items()}
    found = {"path": str(model.path), "moves": newest, "children": children, "parent_kinds": kinds}
    return {**_plain(model, _named(workspace)), **found}


def _kind(workspace: Workspace, ref: str, hash_: str) -> str:
    """Return whether a parent is a model or a dataset of the workspace, or comes from elsewhere."""
    kinds: tuple[tuple[artifacts.Kind, str], ...] = (("models", "model"), ("datasets", "dataset"))
    for kind, word in kinds:
        try:
            if artifacts.resolve(workspace, kind, ref.removeprefix(f"{kind}/")).manifest.hash == hash_:
                return word
        except StoreError:
            continue
    return "elsewhere"


def _steps(workspace: Workspace, alias: str) -> list[tuple[aliases.Move | None, aliases.Move]]:
    moves = aliases.history(workspace, alias)
    return list(zip([None, *moves[:-1]], moves, strict=True))


def _named(workspace: Workspace) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for alias in aliases.names(workspace):
        if target := aliases.target(workspace, alias):
            named.setdefault(target, []).append(alias)
    return named


def _plain(model: Artifact, named: dict[str, list[str]]) -> dict[str, Any]:
    return {"ref": model.ref, "aliases": named.get(model.ref, []), **model.manifest.model_dump(mode="json")}

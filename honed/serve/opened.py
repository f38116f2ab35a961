"""What the application stands on, opened together: the database, the workspace's key, and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from honed.serve.config import ServeConfig
from honed.serve.pool import Pool, Served
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.tokens import Signer, open_signer
from honed.store.workspace import Workspace


class Opened(NamedTuple):
    """Models that are loaded, and where their answers go."""

    pool: Pool
    store: Interactions
    signer: Signer


@contextmanager
def opened(workspace: Workspace, config: ServeConfig, say: Callable[[str], None]) -> Iterator[Opened]:
    """Open all that ``config`` names until the block ends; ``say`` is told of what takes a while.

    Raises ``StoreError`` for a database that can't be written, ``ModelError`` for a model that can't be loaded.
    """
    with (
        closing(open_database(workspace, config.database)) as database,
        closing(Pool(_loader(workspace, config, say), workspace, config.models)) as pool,
    ):
        yield Opened(pool, Interactions(database), open_signer(workspace))


def _loader(workspace: Workspace, config: ServeConfig, say: Callable[[str], None]) -> Callable[[str], Served]:
    """Return what loads a model for the pool: the only way from this room to torch, taken when it is called."""

    def load_served(spec: str) -> Served:
        import torch

        from honed.models import devices, load
        from honed.models.live import LiveLocalEngine

        load.locate(spec, workspace, say=say)
        device = devices.choose_device("auto")
        devices.limit_threads()
        loaded = load.load(spec, workspace, device=device, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
        engine = LiveLocalEngine(loaded, config.batch_size)
        return Served(loaded.ref, loaded.hash, loaded.chat.hash, loaded.context, engine)

    return load_served

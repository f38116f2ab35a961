"""Curation on Ray: pieces of rows are worked on by a cluster's machines, with Ray Data, to the same result.

Signatures, keys and findings come back to the machine of the job, which compares them; the dataset's file must be seen
by all machines at the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from honed.data.curate.pieces import Piece, Spread
from honed.errors import ConfigError, first_line
from honed.jobs import cluster

R = TypeVar("R")


@contextmanager
def spreading(on: str) -> Iterator[Spread]:
    """Yield a way to work on pieces: on Ray, started on this machine ("ray") or reached at its address.

    Raises ``ConfigError`` if Ray isn't installed or not reached.
    """
    with cluster.ray(on):
        try:
            from ray.data import DataContext
        except ImportError as error:  # a Ray of another's install may lack this part, or what it needs
            raise ConfigError(f"on ray: Ray Data isn't here: {first_line(error)}", cluster.INSTALL) from error
        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        yield spread


def spread(function: Callable[[Piece], R], pieces: Sequence[Piece]) -> Iterator[R]:
    """Yield ``function(piece)`` of each piece, in order: a batch a piece, worked on wherever Ray has a core free."""
    import ray

    if not pieces:
        return
    given = ray.put((function, list(pieces)))  # sent to a machine once
    data = ray.data.range(len(pieces), override_num_blocks=len(pieces))
    done = data.map_batches(_work, batch_size=1, fn_kwargs={"given": given})
    for row in done.iter_rows():
        yield row["result"][0]


def _work(batch: dict[str, Any], given: Any) -> dict[str, Any]:
    import numpy as np
    import ray

    function, pieces = ray.get(given)
    results = np.empty(len(batch["id"]), object)
    for at, place in enumerate(batch["id"]):
        results[at] = [function(pieces[int(place)])]  # in a list: Ray keeps it as it is
    return {"result": results}

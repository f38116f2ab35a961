"""Who writes: a server, or a model in this process. Both keep every reply, so that nothing is asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from honed.data.synthesize.config import SynthesizeConfig
from honed.errors import EndpointError
from honed.models import replies
from honed.models.remote import Estimate, RemoteEngine, Spent
from honed.models.wire import Reply, Request
from honed.store.workspace import Workspace


class Writer(Protocol):
    """Answers requests as they can be answered best (see ``RemoteEngine``)."""

    @property
    def spent(self) -> Spent:
        """What was done and paid so far."""
        ...

    def each(
        self, requests: Iterable[Request], stopping: Callable[[], bool] = ...
    ) -> Iterator[tuple[int, Reply | EndpointError]]:
        """Yield the place of each request and its reply, or why it has none, as they come."""
        ...

    def estimate(self, requests: Iterable[Request]) -> Estimate:
        """Return what requests would take at most, without asking any."""
        ...

    def close(self) -> None:
        """End."""
        ...


def opened(workspace: Workspace, config: SynthesizeConfig, work: str, say: Callable[[str], None]) -> Writer:
    """Return the writer that the settings name. ``work`` is what its replies are paid for; a local one loads torch."""
    if config.endpoint:
        return RemoteEngine(config.endpoint, replies.path(workspace), work, say)
    from honed.data.synthesize.local import LocalWriter

    assert config.local is not None  # the settings name one of both
    return LocalWriter(config.local, workspace, work)


def name(config: SynthesizeConfig) -> str:
    """Return the writer's name, as rows bear it."""
    return config.endpoint.model if config.endpoint else str(config.local)

"""Ray, for as long as a job needs it: started on this machine, or reached at its address."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from honed.errors import ConfigError, first_line

ON = r"^ray(://\S+)?$"
"""What a setting may be that says which Ray: this machine's own, or one at an address."""

INSTALL = "Install it: pip install 'honed[ray]'"


def check_installed() -> None:
    """Raise ``ConfigError`` if Ray isn't installed."""
    if find_spec("ray") is None:
        raise ConfigError("on ray: Ray isn't installed here", INSTALL)


@contextmanager
def ray(on: str, cpus: int | None = None) -> Iterator[None]:
    """Have Ray: for ``"ray"`` one of this machine alone, with so many ``cpus`` (None: all), else that at its address.

    It is told to send no statistics of its use. Raises ``ConfigError`` if Ray isn't installed or not reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if on == "ray":
        # A Ray of one machine listens to that machine alone then: its doors are open to the network else. It is read as
        # Ray is imported (2.60: ``ray._private.ray_constants``).
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    check_installed()
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"on ray: Ray can't be loaded: {first_line(error)}", INSTALL) from error
    before = signal.getsignal(signal.SIGTERM)
    try:
        if on == "ray":
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=on, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        if on == "ray":
            raise ConfigError(f"on ray: Ray can't be started here: {first_line(error)}", INSTALL) from error
        raise ConfigError(f"on {on}: no Ray cluster answers there", "Start one: ray start --head") from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray would end this process, not the work in order
    try:
        yield
    finally:
        ray.shutdown()

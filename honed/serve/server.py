"""The process around the application: where it listens, and how it ends."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import uvicorn

from honed.errors import ConfigError
from honed.serve.config import ServeConfig

_GRACE_SECONDS = 3
"""How long answers that run may go on after Ctrl-C; then they are cancelled, and stored as such."""

_BACKLOG = 1024
SHORTEST_TOKEN = 8


class Place(NamedTuple):
    """Where to listen: an address, a port (0 takes any free one), and the token that requests must bring, if any."""

    host: str
    port: int
    token: str | None = None


def loopback(host: str) -> bool:
    """Whether ``host`` is a name or address of this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(config: ServeConfig | Place) -> tuple[socket.socket, str]:
    """Return a socket that listens where ``config`` says, and its URL.

    Raises ``ConfigError`` if others could reach it and there is no token, or a short one, or the address can't be had.
    """
    if config.token is not None and len(config.token) < SHORTEST_TOKEN:
        raise ConfigError(f"the token has fewer than {SHORTEST_TOKEN} characters", "Choose a longer one.")
    if config.token is None and not loopback(config.host):
        raise ConfigError(
            f"{config.host}: others could reach this address, and there is no token",
            "Add --token SECRET (or HONED_TOKEN), or keep to --host 127.0.0.1.",
        )
    try:
        family, *_, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"can't listen on {config.host} port {config.port}: {reason}",
            "Choose another with --host and --port; --port 0 takes any free one.",
        ) from error
    host = f"[{config.host}]" if ":" in config.host else config.host
    return sock, f"http://{host}:{sock.getsockname()[1]}"


def run(app: Any, sock: socket.socket, ready: Callable[[], None]) -> bool:
    """Serve ``app`` until Ctrl-C or SIGTERM, then end in order: running answers first, then the application.

    ``ready`` is called once requests are taken; from then on neither signal raises anything. A second Ctrl-C doesn't
    wait for running answers, which are lost; return whether there was none.
    """
    # The errors of the application are logged by its own edge, with an id; uvicorn would log the cancelling of
    # streams at the end as errors.
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, log_level="critical", server_header=False, timeout_graceful_shutdown=_GRACE_SECONDS
        )
    )
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        server.run(sockets=[sock])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return not server.force_exit

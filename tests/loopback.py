"""A real HTTP server on loopback that plays an OpenAI-compatible endpoint: it counts, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the server sends: ``cut`` bytes of it only, if set; ``slow`` seconds later; in ``trickle`` pieces."""

    content: str = "yes"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    finish: str = "stop"
    usage: tuple[int, int] | None = (10, 5)
    cut: int | None = None
    slow: float = 0.0
    trickle: float = 0.0
    reasoning: str = ""

    def bytes(self) -> bytes:
        """The whole body."""
        if self.raw is not None:
            return self.raw
        message = {"role": "assistant", "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        plain: dict[str, Any] = {"choices": [{"message": message, "finish_reason": self.finish}]}
        if self.usage:
            plain["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), self.usage, strict=True))
        return json.dumps(plain).encode()


def error(status: int, message: str = "", **headers: str) -> Answer:
    """An error in OpenAI's form."""
    raw = json.dumps({"error": {"message": message}}).encode()
    return Answer(status=status, raw=raw, headers={name.replace("_", "-"): value for name, value in headers.items()})


def said(body: Body) -> str:
    """What the last turn of a request says."""
    return str(body["messages"][-1]["content"])


class Endpoint:
    """The server's face to a test: what it was asked, and how many requests it had at once."""

    def __init__(self, answer: Callable[[int, Body], Answer]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.asked: list[Body] = []
        self.headers: list[Mapping[str, str]] = []
        self.times: list[float] = []
        self.most_at_once = self._now = 0
        self.url = ""

    def take(self, body: Body, headers: Mapping[str, str]) -> Answer:
        """Note a request and return what is to be sent."""
        with self._lock:
            number = len(self.asked)
            self.asked.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        return self._answer(number, body)

    def sent(self) -> None:
        """Note that an answer is out."""
        with self._lock:
            self._now -= 1


@contextmanager
def endpoint(answer: Callable[[int, Body], Answer]) -> Iterator[Endpoint]:
    """Serve ``answer(number, body)`` on a free port of loopback."""
    seen = Endpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent = seen.take(body, dict(self.headers))
            try:
                time.sleep(sent.slow)
                self._send(sent, body)
            except OSError:
                self.close_connection = True  # the client has gone
            finally:
                seen.sent()

        def _send(self, sent: Answer, body: Body) -> None:
            data = _events(sent) if body.get("stream") and sent.status == 200 else sent.bytes()
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            part = data if sent.cut is None else data[: sent.cut]
            for start in range(0, len(part), 10) if sent.trickle else ():
                self.wfile.write(part[start : start + 10])
                self.wfile.flush()
                time.sleep(sent.trickle)
            if not sent.trickle:
                self.wfile.write(part)
            self.close_connection = self.close_connection or sent.cut is not None

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _events(sent: Answer) -> bytes:
    chunks: list[Any] = [{"choices": [{"delta": {"content": piece}}]} for piece in sent.content.split(" ")]
    if sent.reasoning:
        chunks.insert(0, {"choices": [{"delta": {"content": None, "reasoning_content": sent.reasoning}}]})
    chunks.append({"choices": [{"delta": {}, "finish_reason": sent.finish}]})
    if sent.usage:
        chunks.append({"choices": [], "usage": {"prompt_tokens": sent.usage[0], "completion_tokens": sent.usage[1]}})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"

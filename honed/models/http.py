"""One try at an endpoint: a body there, its answer back, and every way in which that fails said in plain words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import orjson

from honed.errors import EndpointError
from honed.models.endpoint import EndpointConfig
from honed.version import __version__

_PASSING = frozenset({408, 409, 425, 429})
_OWN = frozenset({400, 413, 422})
_SPENT = ("insufficient_quota", "billing")
_LARGEST = 64 * 2**20
_READ_OF_ERRORS = 65536
_SHOWN = 300
_HINTS: Mapping[int, str] = {
    400: "Look at what the endpoint says; a field that it doesn't know is taken out with extra (seed: null).",
    401: "Check the key in the variable that api_key_env names, and that this endpoint is the one it belongs to.",
    402: "Add credit at the provider, then start again: what is there is kept.",
    403: "Check that the key may use this model.",
    404: "Check base_url (most end with /v1) and the model's name.",
    405: "Check base_url (most end with /v1).",
    413: "Use shorter prompts or documents.",
}


class PassingError(Exception):
    """A try that failed for a reason that may pass. ``after``: seconds that the server asks to wait, if it does.

    ``paid``: an answer may have been made, and billed, that never arrived. ``reached``: something answered at all.
    """

    def __init__(
        self, error: EndpointError, after: float | None = None, paid: bool = False, reached: bool = True
    ) -> None:
        super().__init__(error.message)
        self.error, self.after, self.paid, self.reached = error, after, paid, reached


class Http:
    """The connections to one endpoint, shared by threads. The key is in their headers and nowhere else."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config, self._key = config, config.key()
        headers = {"Content-Type": "application/json", "User-Agent": f"honed/{__version__}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)
        timeout = httpx2.Timeout(config.timeout_seconds, connect=min(10.0, config.timeout_seconds), pool=None)
        self._client = httpx2.Client(headers=headers, limits=limits, timeout=timeout)

    def post(self, body: Mapping[str, Any]) -> bytes:
        """Return the body of the answer. Raises ``PassingError`` or ``EndpointError``."""
        with self._answered(body) as response:
            return self._whole(response)

    def events(self, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the data of each server-sent event until ``[DONE]``. Raises as ``post`` does."""
        with self._answered(body) as response:
            for line in response.iter_lines():
                if line.startswith("data:"):
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        return
                    yield data.encode()
        raise self.broken("a stream that ends in the middle")

    def broken(self, what: str) -> PassingError:
        """Return the failure of an answer that can't be read."""
        config = self._config
        error = EndpointError(
            f"{config.url}: the endpoint's answer is {self._clean(what)}",
            "Check that base_url is an OpenAI-compatible API; if it is, start again later: what is there is kept.",
            status=200,
        )
        return PassingError(error, paid=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _answered(self, body: Mapping[str, Any]) -> Iterator[httpx2.Response]:
        try:
            with self._client.stream("POST", self._config.url, content=orjson.dumps(body)) as response:
                if response.status_code != 200:
                    raise self._refused(response)
                yield response
        except (httpx2.RequestError, httpx2.StreamError) as error:
            raise self._cut(error) from error

    def _whole(self, response: httpx2.Response) -> bytes:
        """Read the body within the time and size that an answer may have; servers that trickle are given up on."""
        deadline = time.monotonic() + self._config.timeout_seconds
        read = bytearray()
        for piece in response.iter_bytes():
            read += piece
            if len(read) > _LARGEST:
                raise self.broken(f"larger than {_LARGEST // 2**20} MiB")
            if time.monotonic() > deadline:
                raise httpx2.ReadTimeout("the answer trickles")
        return bytes(read)

    def _cut(self, error: Exception) -> PassingError:
        """Say why there is no answer."""
        url, seconds = self._config.url, self._config.timeout_seconds
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
            hint = "Check that the server runs and listens there, and base_url."
            said = EndpointError(f"{url}: no connection: {self._clean(str(error)) or 'refused'}", hint)
            return PassingError(said, reached=False)
        if isinstance(error, httpx2.TimeoutException):
            hint = "Raise timeout_seconds, lower concurrency, or ask for shorter answers; what is there is kept."
            return PassingError(EndpointError(f"{url}: no answer within {seconds:g} seconds", hint), paid=True)
        what = self._clean(str(error)) or type(error).__name__
        hint = "Start again when the server or the network is well: what is there is kept."
        return PassingError(EndpointError(f"{url}: the connection broke off: {what}", hint), paid=True)

    def _refused(self, response: httpx2.Response) -> Exception:
        """Say what the status means, with the endpoint's own words."""
        status = response.status_code
        try:
            said = self._clean(_words(next(response.iter_bytes(_READ_OF_ERRORS), b"")))
        except httpx2.RequestError:
            said = ""
        spent = status == 429 and any(word in said for word in _SPENT)
        passing = (status in _PASSING or status >= 500) and not spent
        hint = _HINTS[402] if spent else _HINTS.get(status, _hint(status, response, self._config))
        what = f"{self._config.url}: the endpoint answers {status} {response.reason_phrase}".rstrip()
        error = EndpointError(f"{what}: {said}" if said else what, hint, status=status, lasting=status not in _OWN)
        return PassingError(error, _after(response.headers)) if passing else error

    def _clean(self, text: str) -> str:
        """Return a text as one short line, without the key: some servers repeat it."""
        line = " ".join(text.split())
        line = line.replace(self._key, "***") if self._key else line
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _hint(status: int, response: httpx2.Response, config: EndpointConfig) -> str:
    if status == 429:
        return "Lower concurrency, or set requests_per_minute and tokens_per_minute; what is there is kept."
    if 300 <= status < 400:
        return f"It redirects to {response.headers.get('Location', 'elsewhere')}: set base_url to where it leads."
    if status >= 500:
        return "The server has a fault; start again later: what is there is kept."
    return f"Check base_url, the model {config.model!r}, and what the endpoint says."


def _words(data: bytes) -> str:
    """Return what an error's body says: OpenAI's form, its relatives, or the beginning of any other text."""
    try:
        plain = orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode(errors="replace")
        return "" if text.lstrip().startswith("<") else text
    error = plain.get("error", plain) if isinstance(plain, dict) else plain
    if isinstance(error, dict):
        said = str(error.get("message") or error.get("detail") or "")
        code = str(error.get("code") or "")
        return f"{said} ({code})" if said and code and code not in said else said or code
    return str(error)


def _after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks to wait: a number, or a date."""
    if (millis := _number(headers.get("retry-after-ms"))) is not None:
        return millis / 1000
    given = headers.get("retry-after")
    if given is None:
        return None
    if (seconds := _number(given)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None

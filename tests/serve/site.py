"""A real server in a thread, over tiny models or over an engine that the test plays itself."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import torch
import uvicorn

from honed.models.chat import from_tokenizer
from honed.models.engine import Completion, Deliver, LiveEngine, Sampling
from honed.models.live import LiveLocalEngine
from honed.models.load import LoadedModel
from honed.records import Message
from honed.serve.config import ServeConfig
from honed.serve.pool import Pool, Served
from honed.store import artifacts
from honed.store.artifacts import Artifact
from honed.store.database import open_database
from honed.store.interactions import Interactions
from honed.store.tokens import Signer, open_signer
from honed.store.workspace import Workspace
from honed.web.app import make_app
from tests.tiny import tiny_folder, tiny_model, tiny_tokenizer

WAIT = 60.0


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def publish(workspace: Workspace, name: str = "tiny", seed: int = 0, *, endless: bool = False) -> Artifact:
    """Put a tiny model into the workspace; another seed makes another version."""
    with artifacts.draft(workspace, "models", name) as scratch:
        if endless:
            tiny(seed, 65536, endless=True).model.save_pretrained(scratch)
            tiny_tokenizer().save_pretrained(scratch)
        else:
            tiny_folder(scratch, seed=seed, tied=False)
        return artifacts.publish(scratch, "models", parents={}, config={}, facts={})


def tiny(seed: int = 3, context: int = 512, *, endless: bool = False) -> LoadedModel:
    """A tiny model; ``endless`` greedy answers end only where they must."""
    model = tiny_model(seed, context=context, tied=False)
    with torch.no_grad():
        model.lm_head.weight[257] *= 0 if endless else 2
    return LoadedModel(model, from_tokenizer(tiny_tokenizer()), f"tiny@v{seed}", f"{seed}" * 16, context)


@dataclass
class Played:
    """A request that reached a ``Stage``: the test delivers what comes of it."""

    prompt: Sequence[Message]
    sampling: Sampling
    deliver: Deliver
    cancelled: threading.Event = field(default_factory=threading.Event)

    def end(self, text: str = "", finish: str = "stop") -> None:
        self.deliver(Completion.model_validate({"text": text, "tokens": 1, "finish": finish, "prompt_tokens": 1}))


class Stage:
    """A ``LiveEngine`` that does nothing by itself, except to end what is cancelled."""

    def __init__(self) -> None:
        self.played: list[Played] = []
        self.closed = False

    def submit(self, prompt: Sequence[Message], sampling: Sampling, deliver: Deliver) -> Callable[[], None]:
        played = Played(prompt, sampling, deliver)
        self.played.append(played)

        def cancel() -> None:
            if not played.cancelled.is_set():
                played.cancelled.set()
                played.end("as far as it came", "cancelled")

        return cancel

    def close(self) -> None:
        self.closed = True

    def wait(self, count: int = 1) -> Played:
        until(lambda: len(self.played) >= count)
        return self.played[count - 1]


def served(ref: str, engine: LiveEngine) -> Served:
    return Served(ref, f"hash of {ref}", f"template of {ref}", 512, engine)


def serve_tiny(loaded: LoadedModel, size: int = 8) -> Served:
    engine = LiveLocalEngine(loaded, size)
    return Served(loaded.ref, loaded.hash, loaded.chat.hash, loaded.context, engine)


@dataclass
class Site:
    """A running server."""

    url: str
    pool: Pool
    store: Interactions
    signer: Signer

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=WAIT)

    def post(self, body: object, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=WAIT)


@contextmanager
def serving(
    workspace: Workspace, load: Callable[[str], Served], specs: Sequence[str], **settings: Any
) -> Iterator[Site]:
    """Serve ``specs`` on a free port until the block ends."""
    config = ServeConfig.model_validate({"models": tuple(specs), **settings})
    with (
        closing(open_database(workspace)) as database,
        closing(Pool(load, workspace, specs)) as pool,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        site = Site(
            f"http://127.0.0.1:{listening.getsockname()[1]}", pool, Interactions(database), open_signer(workspace)
        )
        app = make_app(workspace, pool, site.store, site.signer, config)
        quiet: dict[str, Any] = {"log_config": None, "log_level": "critical"}
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=0.5, **quiet))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            until(lambda: server.started)
            yield site
        finally:
            server.should_exit = True
            thread.join(WAIT)
            assert not thread.is_alive()


def stages(workspace: Workspace, *refs: str, **settings: Any) -> Any:
    """``serving`` over a ``Stage`` for each ref; returns the context and the stages."""
    engines: Mapping[str, Stage] = {ref: Stage() for ref in refs}
    return serving(workspace, lambda ref: served(ref, engines[ref]), refs, **settings), engines

"""The two judges there are: a model behind an endpoint, and one on this machine. Only the latter loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from honed.errors import EndpointError
from honed.evaluate.judge import asking, prompts
from honed.evaluate.judge.config import JudgeConfig
from honed.evaluate.judge.outcome import JudgeFacts
from honed.jobs.job import Job
from honed.models import replies
from honed.models.answer_cache import CachedEngine, LazyEngine, cache_of
from honed.models.engine import Completion, Sampling
from honed.models.remote import RemoteEngine
from honed.models.wire import Request
from honed.records import Message, digest
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    from honed.models.load import Prepared

Told = Callable[[int, Completion | str], None]

_HOPELESS = 8
"""Questions refused one by one, and none answered: the others would fare the same."""


class EndpointJudge:
    """A ``Judge`` behind an endpoint: what was paid for once, by any job of the workspace, isn't paid for again.

    ``answered``: it has replied to a question of this job before.
    """

    def __init__(
        self, engine: RemoteEngine, settings: JudgeConfig, stopping: Callable[[], bool], *, answered: bool = False
    ) -> None:
        self.engine = engine
        self._settings, self._stopping, self._answered = settings, stopping, answered
        self.cached = 0
        config = engine.config
        self.facts = JudgeFacts(
            name=config.model,
            where=config.base_url,
            identity=_identity(settings, [config.model, config.base_url, dict(config.extra), config.structured]),
        )

    def ask(self, questions: Sequence[tuple[Message, ...]], schema: Mapping[str, object], told: Told) -> None:
        """Tell each reply as it comes (see ``Judge.ask``).

        Raises ``EndpointError`` when the endpoint is gone, or refuses all it is asked at first: those are then asked
        again when the job is resumed, with other settings perhaps.
        """
        refused: list[tuple[int, EndpointError]] = []

        def tell_refused() -> None:
            while refused:
                place, error = refused.pop(0)
                told(place, f"the endpoint refused it: {error.message}")

        for place, reply in self.engine.each(self.requests(questions, schema), self._stopping):
            if isinstance(reply, EndpointError):
                refused.append((place, reply))
                if not self._answered and len(refused) >= min(_HOPELESS, len(questions)):
                    raise reply
            else:
                self._answered = True
                self.cached += reply.cached
                told(place, reply.completion)
            if self._answered:
                tell_refused()

    def requests(self, questions: Sequence[tuple[Message, ...]], schema: Mapping[str, object]) -> Iterator[Request]:
        """Yield the questions as the engine takes them."""
        sampling = Sampling(max_tokens=self._settings.max_tokens)
        for messages in questions:
            yield Request(messages=messages, sampling=sampling, answer_schema=schema)


class LocalJudge:
    """A ``Judge`` that is a model on this machine, not asked what it was before by any job of the workspace."""

    def __init__(self, model: Prepared, engine: CachedEngine, settings: JudgeConfig) -> None:
        self._model, self._engine, self._settings = model, engine, settings
        self.facts = JudgeFacts(
            name=model.place.ref,
            where="this machine",
            identity=_identity(settings, [model.place.hash, model.chat.hash, settings.precision]),
        )

    @property
    def cached(self) -> int:
        """Replies that were there before."""
        return self._engine.found

    def ask(self, questions: Sequence[tuple[Message, ...]], schema: Mapping[str, object], told: Told) -> None:  # noqa: ARG002 - a local model isn't held to a form
        """Tell each reply as it comes (see ``Judge.ask``); a question that is too long for the model has none."""
        lengths = [len(self._model.chat.prompt_ids(messages)) for messages in questions]
        room = self._model.context - self._settings.max_tokens
        fitting = [place for place, length in enumerate(lengths) if length <= room]
        for place, length in enumerate(lengths):
            if length > room:
                told(place, f"too long for the judge: {length} tokens, and there is room for {room}")
        self._engine.generate(
            [questions[place] for place in fitting],
            Sampling(max_tokens=self._settings.max_tokens),
            lambda at, completion: told(fitting[at], completion),
        )


@contextmanager
def opened(job: Job, settings: JudgeConfig, stopping: Callable[[], bool]) -> Iterator[EndpointJudge | LocalJudge]:
    """Open the judge that the settings name, for the life of a job."""
    if settings.endpoint is None:
        with _local(job, settings) as local:
            yield local
        return
    with engine(job.workspace, settings, work=job.id, say=job.log.note) as remote:
        yield EndpointJudge(remote, settings, stopping, answered=asking.begun(job))


def engine(
    workspace: Workspace, settings: JudgeConfig, work: str = "", say: Callable[[str], None] = lambda _: None
) -> RemoteEngine:
    """Return the engine of an endpoint, over the replies that the workspace has paid for."""
    assert settings.endpoint is not None
    return RemoteEngine(settings.endpoint, replies.path(workspace), work=work, say=say)


@contextmanager
def _local(job: Job, settings: JudgeConfig) -> Iterator[LocalJudge]:
    import torch

    from honed.models import devices
    from honed.models import load as models
    from honed.models.local import LocalEngine

    assert settings.model is not None
    models.locate(settings.model, job.workspace, say=job.log.note)
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[settings.precision]
    device = devices.choose_device(settings.device)
    prepared = models.prepare(settings.model, job.workspace)

    def made() -> LocalEngine:
        loaded = models.weights(prepared, dtype=precision, device=device)
        return LocalEngine(loaded, batch_size=settings.batch_size)

    with closing(cache_of(job.workspace, prepared, settings.precision)) as cache:
        yield LocalJudge(prepared, CachedEngine(LazyEngine(made), cache), settings)


def _identity(settings: JudgeConfig, own: list[object]) -> str:
    asked = [settings.guide, dict(settings.criteria), settings.max_tokens]
    return digest([prompts.VERSION, asked, own])

"""Who is asked: a model in this process, with the answers it gave before, or one that a server runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch

from honed.evaluate.config import EvaluateConfig
from honed.jobs.job import Job
from honed.models import devices, replies
from honed.models import load as models
from honed.models.answer_cache import CachedEngine, LazyEngine, cache_of
from honed.models.chat import ChatFormat
from honed.models.engine import Engine, Sampling
from honed.models.load import LoadedModel, Prepared
from honed.models.local import LocalEngine
from honed.models.remote import RemoteEngine
from honed.records import Message

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

AS_IT_IS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The template of a text that the model goes on with: no headings, no turns."""

_BEFORE = ("", "{{ bos_token }}", "{{ bos_token }}{{ ' ' }}")
"""What may stand before it. Some tokenizers put a space before a text (Llama 2), but not where BOS is written out."""

NOT_KNOWN = (
    "the held-out loss: a server gives answers, not their likelihood",
    "the model's content hash: its served name stands for it",
    "the chat template, the precision and the machine: they are the server's",
)
"""What an evaluation of a served model can't say."""


@dataclass
class Answerer:
    """The engine and what is known of its model. ``prepared`` and ``load`` are None where a server runs it."""

    engine: Engine
    ref: str
    hash: str
    template_hash: str
    device: str
    precision: str
    prepared: Prepared | None = None
    load: Callable[[], LoadedModel] | None = None
    unknown: tuple[str, ...] = ()

    @cached_property
    def loaded(self) -> LoadedModel | None:
        """The model in memory, loaded when it is first asked for; None where a server runs it."""
        return self.load() if self.load else None

    def make_ready(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> None:
        """Load the model if one of the prompts has no answer in the cache, so that answering is timed without it."""
        known = isinstance(self.engine, CachedEngine) and self.engine.holds(prompts, sampling)
        if prompts and not known and self.load:
            self.load()

    @property
    def from_cache(self) -> int:
        """Answers that were there before, from another job's work."""
        if isinstance(self.engine, RemoteEngine):
            return self.engine.spent.cached
        return self.engine.found if isinstance(self.engine, CachedEngine) else 0


def as_it_is(chat: ChatFormat) -> ChatFormat:
    """Return the format of texts that the model goes on with, which begin as its tokenizer begins any: with BOS, if so.

    Found out by trying. Likelihoods are asked of the same ids.
    """
    tried = [replace(chat, template=before + AS_IT_IS) for before in _BEFORE]
    wanted = list(chat.tokenizer("a")["input_ids"])
    return next((one for one in tried if one.prompt_ids((Message(role="user", content="a"),)) == wanted), tried[0])


@contextmanager
def answerer(job: Job, settings: EvaluateConfig) -> Iterator[Answerer]:
    """Make ready whom the settings name. Raises ``ModelError`` if there is no such model or device."""
    if settings.endpoint is not None:
        with RemoteEngine(settings.endpoint, replies.path(job.workspace), job.id, job.log.note) as remote:
            where = f"{settings.model} at {settings.endpoint.base_url}"
            yield Answerer(remote, where, settings.model, "served", "served", "as served", unknown=NOT_KNOWN)
        return
    device = devices.choose_device(settings.device)
    if device == "cuda":  # of several ranks, each has its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    models.locate(settings.model, job.workspace, say=job.log.note)  # fetches what isn't here, and says so
    prepared = models.prepare(settings.model, job.workspace, settings.template)
    if not settings.harness.chat:
        prepared = replace(prepared, chat=as_it_is(prepared.chat))

    @cache
    def load() -> LoadedModel:
        return models.weights(prepared, dtype=DTYPES[settings.precision], device=device)

    place = prepared.place
    known = (place.ref, place.hash, prepared.chat.hash, device, settings.precision, prepared, load)
    engine = LazyEngine(lambda: LocalEngine(load(), batch_size=settings.batch_size))
    if not settings.answer_cache:
        yield Answerer(engine, *known)
        return
    answers = cache_of(job.workspace, prepared, settings.precision)
    try:
        yield Answerer(CachedEngine(engine, answers), *known)
    finally:
        answers.close()

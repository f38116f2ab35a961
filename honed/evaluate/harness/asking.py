"""How a harness's prompts reach honed's engine: batched, cached, judged for room, and counted as they are answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from honed.evaluate.answerer import Answerer
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.models.chat import Unusable
from honed.models.engine import Completion, Sampling
from honed.records import Message, digest

Prompt = tuple[Message, ...]


@dataclass
class Asking:
    """Asks one answerer for a job. ``max_tokens`` hold where a task names none; ``check`` may raise to stop.

    ``fields`` are the fields of a task's rows that become their tags.
    """

    job: Job
    answerer: Answerer
    max_tokens: int
    batch_size: int
    check: Callable[[], None]
    fields: tuple[str, ...] = ()
    completions: dict[str, Completion] = field(default_factory=dict)
    """The answers to all prompts, by ``key``; of several to one prompt the last."""
    no_room: dict[str, str] = field(default_factory=dict)
    """Why a prompt got no answer, by ``key``."""

    def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> list[Completion]:
        """Return one completion a prompt, in their order. A prompt without room in the context has an empty one."""
        made: dict[int, Completion] = {}
        groups: dict[Sampling, list[int]] = {}
        for place, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
            if why := self._no_room(prompt):
                self.no_room[key(prompt)] = why
                made[place] = Completion(text="", tokens=0, finish="length")
            else:
                groups.setdefault(sampling, []).append(place)

        def done(place: int, completion: Completion) -> None:
            made[place] = completion
            self.job.log.write(Step(stage="answers", step=len(made), total=len(prompts)))
            self.check()

        self.check()
        for sampling, places in groups.items():

            def at(number: int, completion: Completion, places: Sequence[int] = places) -> None:
                done(places[number], completion)

            self.answerer.engine.generate([prompts[place] for place in places], sampling, at)
        found = [made[place] for place in range(len(prompts))]
        self.completions |= {key(prompt): one for prompt, one in zip(prompts, found, strict=True)}
        return found

    def tags(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return a row's tags: those of its fields that metrics are also given by."""
        return {name: str(given[name]) for name in self.fields if isinstance(given.get(name), str | int | bool)}

    def _no_room(self, prompt: Prompt) -> str:
        if (loaded := self.answerer.loaded) is None:
            return ""
        try:
            length = len(loaded.chat.prompt_ids(prompt))
        except Unusable as error:
            return error.message
        room = loaded.context - 1
        return f"The prompt has {length} tokens, and the model's context is {loaded.context}." if length > room else ""


def key(prompt: Sequence[Message]) -> str:
    """Return what a prompt is known by."""
    return digest([[message.role, message.content] for message in prompt])

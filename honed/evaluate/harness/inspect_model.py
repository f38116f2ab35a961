"""The model as inspect-ai sees it: calls that come one by one, answered together by honed's engine.

Imported by the worker only: it needs the extra ``inspect``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi

from honed.errors import DataError
from honed.evaluate.harness.asking import Asking, Prompt
from honed.models.engine import Completion, Sampling
from honed.records import Message

_GATHER_SECONDS = 0.02
"""How long a call waits for others to be answered with."""


class _Call(NamedTuple):
    prompt: Prompt
    sampling: Sampling
    answer: asyncio.Future[Completion]


class HonedAPI(ModelAPI):  # type: ignore[misc]
    """``inspect_ai.model.ModelAPI`` over an answerer.

    ``failed`` is what ended the work: inspect-ai makes words of any fault, and this one is to be raised again.
    """

    def __init__(self, asking: Asking) -> None:
        super().__init__(model_name=asking.answerer.ref)
        self._asking = asking
        self._waiting: list[_Call] = []
        self._serving: asyncio.Task[None] | None = None
        self._seen: Counter[Prompt] = Counter()
        self.failed: BaseException | None = None

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 - inspect-ai calls it by this name
        tools: Sequence[Any],
        tool_choice: Any,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the answer to one conversation, once the batch that it shares is done."""
        if self.failed is None and tools:
            what = f"the task gives the model {len(tools)} tools, and honed's engine calls none"
            self.failed = DataError(what, "Choose a task without tools, or run it with inspect itself.")
        try:
            prompt = messages(input)
        except DataError as error:
            self.failed = self.failed or error
            raise
        made = await self._made(prompt, config)
        return ModelOutput(
            model=self.model_name,
            choices=ModelOutput.from_content(
                self.model_name, made.text, "stop" if made.finish == "stop" else "max_tokens"
            ).choices,
            usage=ModelUsage(
                input_tokens=made.prompt_tokens,
                output_tokens=made.tokens,
                total_tokens=made.prompt_tokens + made.tokens,
            ),
        )

    def max_connections(self) -> int:
        """Return how many calls may wait at once: a batch."""
        return self._asking.batch_size

    async def _made(self, prompt: Prompt, config: GenerateConfig) -> Completion:
        if self.failed is not None:
            raise RuntimeError("the evaluation has ended")
        drawn = (config.temperature or 0.0) > 0
        seed = config.seed if config.seed is not None else self._seen[prompt]
        self._seen[prompt] += 1  # the same prompt drawn again is another answer
        sampling = Sampling(
            max_tokens=config.max_tokens or self._asking.max_tokens,
            temperature=config.temperature or 0.0,
            top_p=config.top_p or 1.0,
            seed=seed if drawn else 0,
            stop=tuple(config.stop_seqs or ()),
        )
        call = _Call(prompt, sampling, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await call.answer

    async def _serve(self) -> None:
        """Answer what is waiting until nothing is. The engine computes on this thread: nothing else has to be done."""
        while self._waiting:
            await asyncio.sleep(_GATHER_SECONDS)
            calls, self._waiting = self._waiting, []
            try:
                made = self._asking.generate([call.prompt for call in calls], [call.sampling for call in calls])
            except BaseException as error:  # noqa: BLE001 - raised again where the run ends, a stop as well
                self.failed = error
                for call in calls:
                    if not call.answer.done():
                        call.answer.set_exception(RuntimeError("the evaluation has ended"))
                continue
            for call, one in zip(calls, made, strict=True):
                if not call.answer.done():
                    call.answer.set_result(one)


def known(kind: type[Any], given: object) -> Any:
    """Return a model API of a kind, under the name by which inspect-ai knows those of honed."""
    return modelapi(name="honed")(kind)(given)


def messages(given: Sequence[ChatMessage]) -> Prompt:
    """Return a conversation as honed's messages. Raises ``DataError`` for pictures and the like."""
    found = []
    for one in given:
        if not isinstance(one.content, str) and any(part.type not in ("text", "reasoning") for part in one.content):
            raise DataError("the task shows the model pictures or sounds", "honed's engine reads text.")
        found.append(Message(role=one.role, content=one.text))
    return tuple(found)

"""What answers that read nothing would pass of an inspect-ai task: each is given to the task in a model's place.

Imported by the worker only. The task judges them itself, by its own solver and scorer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput

from honed.evaluate import scoring
from honed.evaluate.harness.inspect_model import known
from honed.evaluate.harness.ran import TaskFloors

Passed = Callable[[ModelAPI], Mapping[str, bool]]
"""Runs the task with a model in place of ours; returns by row whether it passes."""


class Saying(ModelAPI):  # type: ignore[misc]
    """A model that gives one answer to everything, or the last message of the user if that is None."""

    def __init__(self, text: str | None) -> None:
        super().__init__(model_name="constant")
        self._text = text

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 - inspect-ai calls it by this name
        tools: Sequence[Any],  # noqa: ARG002
        tool_choice: Any,  # noqa: ARG002
        config: GenerateConfig,  # noqa: ARG002
    ) -> ModelOutput:
        """Return the answer."""
        last = next((one.text for one in reversed(input) if one.role == "user"), "")
        return ModelOutput.from_content(self.model_name, last if self._text is None else self._text)


def floors(rows: Sequence[str], ideals: Sequence[str], passed: Passed) -> TaskFloors:
    """Return the floors of a task's rows. The most frequent ideal answer is tried as it is, and as a choice."""
    frequent = Counter(ideals).most_common(1)[0][0]
    tried = dict.fromkeys((*scoring.CONSTANTS, frequent, f"ANSWER: {frequent}"))
    verdicts = {text: passed(known(Saying, text)) for text in tried}
    echo = passed(known(Saying, None))
    return TaskFloors(
        {text: {row: found.get(row, False) for row in rows} for text, found in verdicts.items()},
        {row: echo.get(row, False) for row in rows},
    )

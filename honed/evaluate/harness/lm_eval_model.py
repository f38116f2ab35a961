"""The model as lm-eval sees it: its three kinds of request, answered by honed's engine and by the loaded model.

Imported by the worker only: it needs the extra ``lm-eval``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import orjson
from lm_eval import utils
from lm_eval.api.model import TemplateLM

from honed.errors import DataError
from honed.evaluate.harness.asking import Asking, Prompt
from honed.evaluate.harness.likelihoods import Likelihoods
from honed.models.engine import Sampling
from honed.models.load import LoadedModel
from honed.models.spelling import SEAM
from honed.records import Message

_CHAT = "\u0002"
"""Begins a context that is messages (as JSON) and not text."""


class HonedLM(TemplateLM):  # type: ignore[misc]
    """``lm_eval.api.model.TemplateLM`` over an answerer. Likelihoods need a model that is loaded here."""

    def __init__(self, asking: Asking, likelihoods: Likelihoods | None) -> None:
        super().__init__()
        self._asking, self._likelihoods = asking, likelihoods
        self.tokens: dict[str, int] = {}
        """How many tokens a text of a rolling request has."""

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text."""
        return int(self._tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The id before a text that has no context."""
        first = self._tokenizer.bos_token_id
        return self.eot_token_id if first is None else int(first)

    @property
    def tokenizer_name(self) -> str:
        """What decides how messages become text."""
        return self._asking.answerer.template_hash

    def apply_chat_template(
        self,
        chat_history: Sequence[Mapping[str, str]],
        add_generation_prompt: bool = True,  # noqa: ARG002 - an assistant's turn at the end says it
    ) -> str:
        """Return messages as a context of this model. The template comes later: a server has one of its own."""
        return _CHAT + orjson.dumps([[turn["role"], turn["content"]] for turn in chat_history]).decode()

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return what lm-eval keys its own caches by."""
        return self.tokenizer_name if chat_template else ""

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return ids as lm-eval's own models do: with the tokenizer's special ones, unless the text has the first."""
        first = self._tokenizer.bos_token
        if add_special_tokens is None:
            add_special_tokens = not (first and string.startswith(first))
        return list(self._tokenizer(string, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """Return the log-likelihood (nats) of each continuation after its context, and whether greed would say it."""
        self._needed()
        texts = [SimpleNamespace(args=(self._text(context), end)) for context, end in (one.args for one in requests)]
        found: list[tuple[float, bool]] = super().loglikelihood(texts, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        made = self._needed().measure([(context, end) for _texts, context, end in requests])
        return [(-one.nats, one.greedy) for one in made]

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """Return the log-likelihood of whole texts, each token predicted once and from all that fits before it."""
        measured, length = self._needed(), self._loaded.context
        windows: list[tuple[list[int], list[int]]] = []
        counts = []
        for (text,) in (one.args for one in requests):
            ids = self.tok_encode(text)
            self.tokens[text] = len(ids)
            rolled = utils.get_rolling_token_windows(ids, self.prefix_token_id, length, 1)
            mine = [utils.make_disjoint_window(window) for window in rolled]
            counts.append(len(mine))
            windows += mine
        made = iter(measured.measure(windows))
        return [-sum(next(made).nats for _ in range(count)) for count in counts]

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """Return an answer to each context, ended by the texts that its task names."""
        prompts = [messages(one.args[0]) for one in requests]
        if any(prompt[-1].role == "assistant" for prompt in prompts):
            what = "the task begins the model's answer itself, which no chat template allows for"
            raise DataError(what, "Ask without the template: --set evaluate.harness.chat=false")
        seen: Counter[str] = Counter()
        samplings = []
        for one in requests:
            samplings.append(self._sampling(one.args[1], seed=seen[one.args[0]]))
            seen[one.args[0]] += 1  # the same prompt drawn again is another answer
        return [one.text for one in self._asking.generate(prompts, samplings)]

    def _sampling(self, given: Mapping[str, Any], seed: int) -> Sampling:
        until = given.get("until") or ()
        return Sampling(
            max_tokens=given.get("max_gen_toks") or self._asking.max_tokens,
            stop=tuple(text for text in ([until] if isinstance(until, str) else until) if text),
            temperature=float(given.get("temperature") or 0.0) if given.get("do_sample") else 0.0,
            top_p=float(given.get("top_p") or 1.0) if given.get("do_sample") else 1.0,
            seed=seed if given.get("do_sample") else 0,
        )

    def _text(self, context: str) -> str:
        if not context.startswith(_CHAT):
            return context
        turns = messages(context)
        begun = turns[-1].content if turns[-1].role == "assistant" else ""
        asked = turns[:-1] if begun else turns
        return self._loaded.chat.render(asked, generation=True).replace(SEAM, "") + begun

    def _needed(self) -> Likelihoods:
        if self._likelihoods is None:
            raise DataError(
                "the task asks for log-likelihoods, and a server gives answers only",
                "Evaluate the model itself, without an endpoint, or choose a task that generates.",
            )
        return self._likelihoods

    @property
    def _loaded(self) -> LoadedModel:
        return self._needed().loaded

    @property
    def _tokenizer(self) -> Any:
        return self._loaded.chat.tokenizer


def messages(context: str) -> Prompt:
    """Return a context as messages: those that it is made of, or one that is its text."""
    if not context.startswith(_CHAT):
        return (Message(role="user", content=context),)
    return tuple(Message(role=role, content=text) for role, text in orjson.loads(context[len(_CHAT) :]))

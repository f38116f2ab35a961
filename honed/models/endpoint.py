"""A server that speaks OpenAI's API, as settings name it: where, which model, how fast, at what price. Without HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from honed.config import Config
from honed.errors import ConfigError

_MILLION = 1_000_000


class EndpointConfig(Config):
    """An endpoint that answers prompts. The key never stands here: only the name of the variable that holds it."""

    base_url: str = Field(description="address of the API, up to and with /v1: http://127.0.0.1:8000/v1")
    model: str = Field(min_length=1, description="the model, by the name that the endpoint knows it by")
    api_key_env: str | None = Field(
        default=None, description="name of the environment variable that holds the key; none sends no key"
    )
    structured: Literal["none", "json", "schema"] = Field(
        default="none",
        description="how JSON is asked for beyond the prompt: nothing, response_format json_object, or json_schema",
    )
    extra: Mapping[str, Any] = Field(
        default={}, description="fields to add to the body of each request; null takes one out (seed: null)"
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="requests under way at the same time")
    timeout_seconds: float = Field(default=120.0, gt=0, description="longest wait for an answer, or for its next bytes")
    retries: int = Field(default=6, ge=0, le=20, description="tries after the first, for what may pass (429, 5xx, ...)")
    backoff_seconds: float = Field(
        default=0.5, gt=0, description="longest wait before the first retry; doubles with each, up to a minute"
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="rate limit in requests")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="rate limit in tokens, both ways together")
    prompt_price: float | None = Field(default=None, ge=0, description="price of a million tokens of prompts")
    completion_price: float | None = Field(default=None, ge=0, description="price of a million tokens of answers")
    max_cost: float | None = Field(
        default=None, gt=0, description="most that the work may cost, in the prices' currency; it ends there in order"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"base_url: {self.base_url!r} is no address; write it as http://127.0.0.1:8000/v1")
        _ = url.port  # raises if it is none
        if url.username or url.password or url.query:
            raise ValueError("base_url: an address with a password or key in it would be stored; use api_key_env")
        if self.base_url.rstrip("/").endswith("/chat/completions"):
            raise ValueError("base_url: leave out /chat/completions, it is added to the address")
        if (self.prompt_price is None) != (self.completion_price is None):
            raise ValueError("prompt_price and completion_price belong together: set both")
        if self.max_cost is not None and self.prompt_price is None:
            raise ValueError("max_cost: without prompt_price and completion_price nobody knows what is spent")
        return self

    @property
    def url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def key(self) -> str | None:
        """Return the key from the environment. Raises ``ConfigError`` if the variable that is named is not set."""
        if self.api_key_env is None:
            return None
        value = os.environ.get(self.api_key_env, "").strip()
        if not value:
            raise ConfigError(
                f"the key of {self.base_url} is to be in the environment variable {self.api_key_env}, which is not set",
                f"Set it (export {self.api_key_env}=...), or leave api_key_env out if the endpoint needs no key.",
            )
        if not (value.isascii() and value.isprintable() and " " not in value):
            raise ConfigError(
                f"the key in the environment variable {self.api_key_env} has blanks or signs that no key has",
                "Copy it again, without quotes and line ends.",
            )
        return value

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return what tokens cost, in the prices' currency; 0 without prices."""
        paid = prompt_tokens * (self.prompt_price or 0) + completion_tokens * (self.completion_price or 0)
        return paid / _MILLION

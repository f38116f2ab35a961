"""What may be set of serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from honed.config import Config

RESERVED = frozenset({"pair", "simulated"})
"""Keys of a request's metadata that have a meaning of their own."""


class ServeConfig(Config):
    """Settings of ``honed serve``."""

    synonyms: ClassVar[Mapping[str, str]] = {
        "api_key": "token",
        "database_url": "database",
        "max_new_tokens": "max_tokens",
        "max_num_seqs": "batch_size",
    }

    models: tuple[str, ...] = Field(
        min_length=1, description="models to serve: an alias such as live, name@vN, smollm2-135m, a folder, a .gguf"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on; any but loopback demands a token")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    token: str | None = Field(
        default=None,
        min_length=8,
        repr=False,
        description="secret that every request must bring; at least 8 characters",
    )
    database: str | None = Field(
        default=None,
        repr=False,
        description="where answers are stored: a database URL; by default the workspace's file",
    )
    batch_size: int = Field(default=16, ge=1, description="requests of one model that are computed together at most")
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="of requests that state none; 0, greedy, is what honed evaluate measures"
    )
    max_tokens: int = Field(default=1024, ge=1, description="longest answer of requests that state no limit, in tokens")
    segments: Mapping[str, tuple[str, ...]] = Field(
        default={}, description="what a person may state of themselves: attribute -> its allowed values"
    )

    @field_validator("segments")
    @classmethod
    def _named(cls, segments: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for name, values in segments.items():
            if name in RESERVED or not name:
                raise ValueError(f"{name!r} can't be an attribute's name")
            if not values or not all(values):
                raise ValueError(f"{name} needs values, such as {name}: [first, second]")
        return segments

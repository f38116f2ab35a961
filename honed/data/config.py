"""What may be set when data is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from honed.config import Config
from honed.data.shapes.reading import Paths
from honed.data.shapes.table import SHAPES, Shape
from honed.data.sources.container import TextForm, Told

BUILTIN = "builtin"
"""The source that names the embedded instruction set, in place of files."""

HELDOUT = 0.1


class DataConfig(Config):
    """Settings of ``honed data import``."""

    name: str = Field(description="name of the dataset: rows become NAME@v1, then @v2 ...")
    files: tuple[str, ...] = Field(
        min_length=1,
        description="what to read: files, folders and patterns (JSON, JSON lines, CSV, TSV, Parquet; gzip, zstd), "
        "hub:ORG/NAME[:CONFIG][@SPLIT], or 'builtin' alone",
    )
    shape: Shape | None = Field(
        default=None, description=f"shape of the rows ({', '.join(SHAPES)}); detected, file by file, if not given"
    )
    container: TextForm | None = Field(
        default=None, description="what the text files are: json, jsonl, csv, tsv; told by their content if not given"
    )
    delimiter: str = Field(
        default="", description="what stands between the fields of CSV files; told by their first line if not given"
    )
    columns: Mapping[str, str] = Field(
        default={}, description="which field is read under which name of a shape, such as {instruction: q}"
    )
    paths: Paths = Field(
        default="all", description="trees of messages: every path to an answer, or the best-ranked one of each tree"
    )
    heldout: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=f"share of rows held out; 1 holds out all; {HELDOUT} if neither this nor heldout_file is given",
    )
    heldout_file: str | None = Field(
        default=None, description="source of the held-out rows; training rows with a prompt of it are left out"
    )
    licence: str | None = Field(
        default=None, description="licence of the rows, such as cc-by-4.0: goes with them into every mix and data card"
    )
    attributes: Mapping[str, str] = Field(
        default={}, description="what is declared of all rows that don't say it themselves, such as {locale: de}"
    )
    allow_faults: bool = Field(default=False, description="import the usable rows although others have faults")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.heldout is not None and self.heldout_file is not None:
            raise ValueError("heldout and heldout_file can't both be given")
        if problem := Told(self.container, self.delimiter).problem:
            raise ValueError(problem)
        if BUILTIN in self.files and (
            len(self.files) > 1
            or self.shape
            or self.container
            or self.delimiter
            or self.columns
            or self.heldout is not None
            or self.heldout_file
            or self.attributes
        ):
            raise ValueError("'builtin' has its own rows and split: no other file, shape or heldout goes with it")
        return self

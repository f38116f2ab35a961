"""What an evaluation leaves in its job's folder: an answer a row, a loss a row, and the result. All torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from honed.evaluate.graded import Graded
from honed.evaluate.rates import SEGMENTS as SEGMENTS
from honed.evaluate.rates import Rate as Rate
from honed.evaluate.rates import Worst
from honed.evaluate.rates import rate as rate
from honed.evaluate.reliable import Reliable
from honed.evaluate.stats import Interval
from honed.evaluate.suites.result import SuiteScores, Totals
from honed.records import Check, Message, Record, Split

SAMPLES = "samples.jsonl"
LOSSES = "losses.jsonl"


class Answer(Record):
    """One line of ``samples.jsonl``: a model's answer to a row, and what was said of it.

    ``passed`` is None for a row without a verifier; ``floors`` are the verdicts of the answers that cost nothing;
    ``vacuous`` says why the answer says nothing, by the rule of ``honed.evaluate.vacuous``, and is "" if it does;
    ``value`` is how good it is, from 0 to 1, where the verifier says so; ``check`` is the row's verifier with its
    parameters.
    """

    row: str
    prompt: tuple[Message, ...]
    ideal: str
    tags: Mapping[str, str]
    answer: str
    tokens: int
    finish: Literal["stop", "length"]
    passed: bool | None
    why: str
    floors: Mapping[str, bool]
    vacuous: str = ""
    value: float | None = None
    check: Check | None = None


class RowLoss(Record):
    """One line of ``losses.jsonl``: the loss summed over a row's supervised tokens (nats), and how many they are.

    A turn's training weight plays no part: each token of a turn that is trained on counts once. ``bytes`` is the
    length in UTF-8 of the text that these tokens spell, special tokens aside; 0 where it wasn't counted. ``tags`` and
    ``family`` (``families.family``) are the row's, also where it isn't answered.
    """

    row: str
    nats: float
    tokens: int
    bytes: int = 0
    tags: Mapping[str, str] = {}
    family: str = ""


class Floors(Record):
    """What answers that read nothing would score on the same rows: a model must beat them to have shown anything."""

    constant: Rate
    constant_answer: str
    constants: Mapping[str, float]
    echo: Rate


class SegmentLoss(Record):
    """The held-out loss of a group of rows, in nats per supervised token, with its bootstrap interval."""

    rows: int
    loss: float
    interval: Interval


class BaseFloor(Record):
    """What the base model passes on the same rows, by its own evaluation; ``totals`` are a suite's."""

    model: str
    job: str
    rate: Rate
    guarded: Rate
    totals: Totals | None = None


class Groups(Record):
    """Every metric by the values of one tag. ``small`` groups have too few rows to say anything: only their sizes.

    ``floors`` are what ``constant``, ``echo`` and, where its evaluation was named, the ``base`` model pass of a group;
    ``values`` its graded answers' mean, ``reliable`` its families of rows that are passed whole.
    """

    passed: Mapping[str, Rate]
    guarded: Mapping[str, Rate]
    floors: Mapping[str, Mapping[str, Rate]] = {}
    values: Mapping[str, Graded] = {}
    reliable: Mapping[str, Reliable] = {}
    losses: Mapping[str, SegmentLoss]
    small: Mapping[str, int]
    worst: Worst | None


class HarnessMetric(Record):
    """A number as another harness gives it, of one task or a group of them; ``error`` is its standard error."""

    task: str
    metric: str
    value: float
    error: float | None = None


class HarnessScores(Record):
    """What a harness says of its tasks; ``passed_by`` is the metric by which the rows of each task pass or fail."""

    harness: str
    version: str
    metrics: tuple[HarnessMetric, ...]
    passed_by: Mapping[str, str]


class LeftOut(Record):
    """A row that has no loss, and why."""

    row: str
    kind: str
    why: str


class Outcome(Record):
    """``result.json`` of an evaluation: what was measured, on what, and what really ran.

    ``loss`` is in nats per supervised token; ``tokens`` are generated ones, and ``tokens_per_second`` their rate while
    generating; ``stages`` are seconds of this attempt's parts, ``seconds`` all of it; ``unverified`` rows have no
    verifier and count for the loss only; ``cut`` answers reached ``max_tokens``. ``suite`` are the scores where
    a suite was answered; ``pass_rate`` is then its strict rate of prompts. ``guarded`` counts passes by answers that
    aren't vacuous, ``groups`` gives all by tag, ``segments`` the plain pass rates of groups that aren't too small;
    ``base`` is the base model's pass rate, where its evaluation was named; ``rules`` is the version of its segments.
    ``value`` is the mean value of graded answers, ``reliable`` by suite how many families of rows were passed whole,
    ``bits_per_byte`` the held-out loss for each byte of text, which models of different tokenizers share; its interval
    and ``loss_interval`` draw whole families of rows again. ``scorer`` judged the rows without a check.
    ``cached_answers`` and ``cached_losses`` are earlier jobs'; ``unknown`` is what can't be said of a model that a
    server runs; ``harness`` are the numbers of lm-eval or inspect-ai, where the rows are its tasks'.
    """

    model: str
    model_hash: str
    template_hash: str
    data: str
    data_hash: str
    split: Split
    rules: str = ""
    rows: int
    repeated: int
    unverified: int
    n: int
    passed: int
    pass_rate: float | None
    interval: Interval | None
    guarded: Rate | None = None
    groups: Mapping[str, Groups] = {}
    base: BaseFloor | None = None
    segments: Mapping[str, Mapping[str, Rate]]
    floors: Floors | None
    loss: float | None
    loss_interval: Interval | None = None
    perplexity: float | None
    loss_rows: int
    left_out: tuple[LeftOut, ...]
    max_tokens: int
    answers: int
    resumed_answers: int
    cached_answers: int = 0
    cached_losses: int = 0
    cut: int
    tokens: int
    tokens_per_second: float | None
    machine: str
    device: str
    precision: str
    batch_size: int
    ranks: int = 1
    unknown: tuple[str, ...] = ()
    peak_rss_bytes: int
    stages: Mapping[str, float]
    seconds: float = 0.0
    suite: SuiteScores | None = None
    scorer: str = ""
    value: Graded | None = None
    reliable: Mapping[str, Reliable] = {}
    bits_per_byte: float | None = None
    bits_per_byte_interval: Interval | None = None
    harness: HarnessScores | None = None


Line = TypeVar("Line", Answer, RowLoss)


def append(path: Path, lines: Iterable[Answer | RowLoss]) -> None:
    """Append whole lines to a JSONL file; a kill in between can tear the last one only."""
    with path.open("a") as file:
        file.writelines(line.model_dump_json() + "\n" for line in lines)


def read(kind: type[Line], path: Path) -> dict[str, Line]:
    """Return the lines by row id; none if there is no file. A line that a kill tore is left out, to be made again."""
    found: dict[str, Line] = {}
    if not path.exists():
        return found
    for text in path.read_bytes().splitlines():
        try:
            line = kind.model_validate_json(text)
        except ValidationError:
            continue
        found[line.row] = line
    return found


def mend(path: Path) -> None:
    """End a torn last line, so that the next one appended begins on its own."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def result(values: Mapping[str, Any]) -> Outcome:
    """Return a job's ``result.json`` as a record."""
    return Outcome.model_validate(dict(values))

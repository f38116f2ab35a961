"""Log-likelihoods of texts that a harness asks for, by the loaded model, each kept in the job's folder once made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.models import losses
from honed.models.chat import Encoded
from honed.models.load import LoadedModel
from honed.records import Record, digest

LIKELIHOODS = "likelihoods.jsonl"


class Likelihood(Record):
    """One line of ``likelihoods.jsonl``: nats of a continuation of ids, and whether each of them is the likeliest."""

    key: str
    nats: float
    greedy: bool


@dataclass
class Likelihoods:
    """Measures continuations in batches, none of them twice in one job. ``check`` may raise to stop."""

    job: Job
    loaded: LoadedModel
    batch_size: int
    check: Callable[[], None]
    known: dict[str, Likelihood] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.job.path / LIKELIHOODS
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                one = Likelihood.model_validate_json(line)
            except ValidationError:  # torn by a kill: to be made again
                continue
            self.known[one.key] = one
        self.resumed = len(self.known)

    def measure(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Likelihood]:
        """Return each continuation's log-likelihood after its context, both given as ids.

        A context that doesn't fit loses its beginning; it has one id at least. Numbers are those of the model's
        precision, whatever shares a batch.
        """
        rows = {key: self._row(*pair) for pair in pairs if (key := _key(*pair)) not in self.known}
        for key in [key for key, row in rows.items() if not row.supervised]:
            self.known[key] = Likelihood(key=key, nats=0.0, greedy=True)
            del rows[key]
        done = 0
        with (self.job.path / LIKELIHOODS).open("a") as file:
            file.write("\n")  # ends a line that a kill tore
            for found in losses.measure(self.loaded, rows, self.batch_size):
                lines = [Likelihood(key=key, nats=one.nats, greedy=one.greedy) for key, one in found.items()]
                file.writelines(line.model_dump_json() + "\n" for line in lines)
                file.flush()
                self.known |= {line.key: line for line in lines}
                done += len(lines)
                self.job.log.write(Step(stage="likelihoods", step=done, total=len(rows)))
                self.check()
        return [self.known[_key(*pair)] for pair in pairs]

    def _row(self, context: Sequence[int], continuation: Sequence[int]) -> Encoded:
        ids = (*context, *continuation)[-(self.loaded.context + 1) :]
        fed = min(len(continuation), len(ids) - 1)
        return Encoded(tuple(ids), (*[0.0] * (len(ids) - fed), *[1.0] * fed))


def _key(context: Sequence[int], continuation: Sequence[int]) -> str:
    return digest([list(context), list(continuation)])

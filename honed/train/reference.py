"""The base model's log-likelihoods of every answer, computed once and kept in the workspace for all runs on the data.

No second model is held in memory: they are computed before the first step, while the model is still the base. In fp32
a number belongs to its row, whichever pass it was computed in (rows of a pack stay apart), so that other seeds, orders
and numbers of epochs find them again: passes differ in the last bits only. In 16 bits the last bits are nats: there the
passes are those of the run's first epoch. Either way margins are 0 to rounding before the first step.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import PreTrainedModel

from honed.errors import HonedError
from honed.jobs.events import Step
from honed.jobs.job import Job
from honed.jobs.worker import Stopped
from honed.models.chat import Encoded
from honed.store.workspace import Workspace, write_whole, writing
from honed.train import answers
from honed.train.deal import in_rounds
from honed.train.head import Head
from honed.train.pairs import Pair
from honed.train.placement import Placement
from honed.train.prefixes import chunks
from honed.train.ratings import Rated

E = TypeVar("E", Pair, Rated)

_TENSOR = "log_likelihoods"
_CODE = ("models", "train")


@dataclass(frozen=True)
class Reference:
    """What the numbers depend on besides the rows: the base model (its content hash), and how they are computed.

    ``packed``, ``shared`` and ``head`` are those of ``Layout``; ``pack_tokens`` is the most tokens of a pass,
    ``within`` that of a row which shares one (``answers.collate``); ``kernels`` says what norms, MLPs and rotary
    positions are computed by (``Installed.describe``).
    """

    base: str
    precision: str
    device: str
    packed: bool
    shared: bool
    head: Head
    pack_tokens: int
    kernels: Mapping[str, str] = field(default_factory=dict)
    within: int | None = None

    def key(
        self, model: PreTrainedModel, rows: Sequence[Encoded], passes: Sequence[Sequence[int]] | None = None
    ) -> str:
        """Return 32 hex digits over everything that decides the numbers.

        That is: this object, the model's settings (quantization among them), the types of its weights, the attention's
        path, the machine's instructions, the libraries and the code that compute, the passes if they are given, with
        the threads that share their sums out, and every row's token ids and weights in order, which hold all that
        dataset, template and settings of the data can change. Without passes it is no matter how long those are.
        """
        settings = {key: value for key, value in model.config.to_dict().items() if key != "_name_or_path"}
        types = sorted({str(parameter.dtype) for parameter in model.parameters()})
        by = [
            model.config._attn_implementation,
            torch.__version__,
            transformers.__version__,
            _code(),
            _machine(self.device),
        ]
        how = self if passes is not None else replace(self, shared=False, pack_tokens=0)
        in_passes = None if passes is None else [passes, torch.get_num_threads()]
        head = [asdict(how), settings, types, by, len(rows), in_passes]
        total = hashlib.sha256(orjson.dumps(head, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str))
        for row in rows:
            total.update(np.array([len(row.ids), *row.ids], np.int64).tobytes())
            total.update(np.array(row.weights, np.float64).tobytes())
        return total.hexdigest()[:32]

    def kept(
        self,
        model: PreTrainedModel,
        examples: Sequence[Pair | Rated],
        workspace: Workspace,
        packs: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Path, Tensor | None]:
        """Return the file of the examples' numbers in the workspace's cache, and the numbers (R,) if they are there.

        ``model`` and ``packs`` as in ``attach``.
        """
        rows = [row for example in examples for row in example.referred]
        passes = None if packs is None else _given(packs, examples)
        path = workspace.cache / "references" / f"{self.key(model, rows, passes)}.safetensors"
        return path, _kept(path, len(rows))

    def attach(
        self,
        placed: Placement,
        examples: Sequence[E],
        names: Sequence[str],
        job: Job,
        stopping: Callable[[], bool],
        packs: Sequence[Sequence[int]] | None = None,
    ) -> tuple[E, ...]:
        """Return the examples with their references, from the workspace's cache or else computed and put there.

        ``packs`` are passes to compute them in, by the examples' indices; those in none have passes of their own.
        The model computes as the base still. Several ranks share the passes out among them, and rank 0 keeps what they
        computed. Raises ``Stopped`` when asked to stop; the next attempt starts anew. Raises ``HonedError`` with the
        ``names`` of the examples for which the base gives no number.
        """
        ranks = placed.ranks
        path, table = self.kept(placed.model, examples, job.workspace, packs)
        found: list[float] | None = ranks.agreed(None if table is None else table.tolist())  # what rank 0 found
        if found is not None:
            job.log.note(f"the base model's likelihoods of {len(found)} answers are read from {path}")
            values = iter(found)
        else:
            rows = [row for example in examples for row in example.referred]
            computed = self._computed(placed, rows, _given(packs or (), examples), job, stopping)
            _check(computed, examples, names, self.precision)
            ranks.together(lambda: _keep(path, computed) if ranks.first else None)
            values = iter(computed.tolist())
        return tuple(replace(one, reference=tuple(islice(values, len(one.referred)))) for one in examples)

    @torch.no_grad()
    def _computed(
        self,
        placed: Placement,
        rows: Sequence[Encoded],
        passes: Sequence[Sequence[int]],
        job: Job,
        stopping: Callable[[], bool],
    ) -> Tensor:
        """The log-likelihood of every row in nats, (R,) in fp32."""
        placed.model.eval()
        table = torch.full((len(rows),), torch.nan)
        lengths = [len(row.ids) for row in rows]
        others = set(range(len(rows))) - {index for some in passes for index in some}
        alike = sorted(others, key=lambda index: (rows[index].ids, index))  # what neighbours share is computed once
        passes = [*passes, *chunks(alike, lengths, self.pack_tokens if self.packed else 0)]
        if not self.packed:  # each row goes through the model alone: ranks that hold shares must do so equally often
            passes = [[index] for some in passes for index in some]
        costs = [sum(lengths[index] for index in some) for some in passes]
        rounds = in_rounds(costs, placed.ranks.size)[placed.ranks.number]
        compute = partial(answers.log_likelihoods, head=self.head)
        said = 0.0
        for number, turn in enumerate(rounds, start=1):  # as many on every rank, so that all hear of a stop at once
            some = passes[turn.index]
            batch = answers.collate(
                [(rows[index],) for index in some],
                [(0.0,)] * len(some),
                packed=self.packed,
                share=self.shared,
                within=self.within,
            )
            table[some] = placed.run(compute, batch.to(self.device))[:, 0].float().cpu()
            if number == len(rounds) or time.monotonic() - said > 1:
                job.log.write(Step(stage="reference", step=number, total=len(rounds)))
                said = time.monotonic()
            if stopping():
                raise Stopped
        return _merged(placed.ranks.exchange(table.tolist()))


def _merged(tables: Sequence[Sequence[float]]) -> Tensor:
    """One table of all ranks': each number from whoever computed it."""
    whole = torch.tensor(tables[0])
    for table in map(torch.tensor, tables[1:]):
        whole = torch.where(whole.isnan(), table, whole)
    return whole


def _check(table: Tensor, examples: Sequence[Pair | Rated], names: Sequence[str], precision: str) -> None:
    """Nothing could be learned of such an example, and what is kept is read by every later run."""
    of_row = [index for index, one in enumerate(examples) for _ in one.referred]
    lost = sorted({of_row[at] for at in table.isfinite().logical_not().nonzero().flatten().tolist()})
    if lost:
        listed = ", ".join([*(names[index] for index in lost[:8]), *([f"{len(lost) - 8} more"] if lost[8:] else [])])
        raise HonedError(
            f"the base model's likelihood is not a number for {len(lost)} of {len(examples)} examples: {listed}",
            "Look at the base model's weights and at those rows"
            + ("." if precision == "fp32" else ", or use precision fp32."),
        )


def _keep(path: Path, table: Tensor) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({_TENSOR: table}))


def _given(packs: Sequence[Sequence[int]], examples: Sequence[Pair | Rated]) -> list[list[int]]:
    """Make passes of examples passes of their rows as training computes them: what is learned, and then the others."""
    starts = [0, *accumulate(len(one.referred) for one in examples)]
    passes = []
    for pack in packs:
        learned = [starts[index] + place for index in pack for place in range(len(examples[index].rows))]
        others = [
            starts[index] + place
            for index in pack
            for place in range(len(examples[index].rows), len(examples[index].referred))
        ]
        passes += [some for some in (learned, others) if some]
    return passes


def _kept(path: Path, count: int) -> Tensor | None:
    """What an earlier run left; None if there is nothing, or nothing whole."""
    try:
        table = load_file(path)[_TENSOR]
    except (OSError, SafetensorError, KeyError):
        return None
    return table if table.shape == (count,) else None


def _machine(device: str) -> str:
    """What computes: in 16 bits, processors with other instructions round otherwise."""
    return torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()


def _code() -> str:
    """The content hash of the code that computes: of the rooms ``models`` and ``train``."""
    room = Path(__file__).parents[1]
    total = hashlib.sha256()
    sources = (path for name in _CODE for kind in ("*.py", "*.c") for path in (room / name).rglob(kind))
    for path in sorted(sources):
        total.update(path.read_bytes())
    return total.hexdigest()

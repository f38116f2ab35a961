"""A dataset of the hub, through the library ``datasets``: ``hub:org/name``, perhaps with configuration and split."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from honed.data.sources.container import Container
from honed.data.sources.row import Block, CutError, Known, Meter, unreadable
from honed.data.sources.table import Table
from honed.errors import DataError, first_line

PREFIX = "hub:"
_BATCH = 2048
_SECONDS = 10
_REF = re.compile(r"hub:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[^@:]+))?(?:@(?P<split>[\w.-]+))?")


class Ref(NamedTuple):
    """Which rows of the hub: ``hub:NAME[:CONFIG][@SPLIT]``; "" is the only one, or the split ``train``."""

    name: str
    config: str
    split: str


def is_ref(source: str) -> bool:
    """Tell whether a source names a dataset of the hub."""
    return source.startswith(PREFIX)


def parsed(source: str) -> Ref:
    """Return what ``source`` names. Raises ``DataError`` if it isn't written as it should be."""
    found = _REF.fullmatch(source)
    if not found:
        raise DataError(f"{source}: not the name of a hub dataset", "Write hub:ORG/NAME, or hub:ORG/NAME:CONFIG@SPLIT.")
    return Ref(found["name"], found["config"] or "", found["split"] or "")


def opened(source: str, meter: Meter) -> tuple[Container, Iterator[Block]]:
    """Fetch the dataset into the hub's cache, or find it there; return what it is and its rows in batches.

    Raises ``DataError`` if the library is missing, the hub can't be reached, or nothing there has that name.
    """
    ref = parsed(source)
    table, licence = _table(source, ref)
    meter.total = table.num_rows
    return Container("hub dataset", "", iter(()), licence=licence), _blocks(table, source, meter)


def _blocks(table: Any, source: str, meter: Meter) -> Iterator[Block]:
    number = 0
    for batch in table.with_format("arrow").iter(_BATCH):
        for part in batch.combine_chunks().to_batches():
            yield Table(number + 1, part)
            number += part.num_rows
        meter.done = number
    if not number:
        problem = CutError("no rows", "the dataset has no rows", "Name another split.")
        yield Known((unreadable(source, (1, "row"), problem, counts=False),))


def _table(source: str, ref: Ref) -> tuple[Any, str]:
    """Return the rows, and the licence that the dataset's card declares, or ""."""
    try:
        import datasets
    except ImportError as error:
        hint = "Install it: pip install 'honed[hub]'"
        raise DataError(f"{source}: the library 'datasets' is not installed", hint) from error
    from huggingface_hub.errors import OfflineModeIsEnabled

    card = _ask(source, ref, datasets)
    try:
        builder = datasets.load_dataset_builder(ref.name, ref.config or None)
        builder.download_and_prepare()
        split = _split(source, ref, sorted(map(str, builder.info.splits or ())))
        return builder.as_dataset(split=split), _licence(card, builder.info)
    except DataError:
        raise
    except datasets.exceptions.DatasetNotFoundError as error:
        hint = "Check the name at the hub; a private or gated dataset needs a login: hf auth login"
        raise DataError(f"{source}: the hub has no such dataset, or doesn't show it to you", hint) from error
    except (ConnectionError, OfflineModeIsEnabled) as error:
        hint = "Check the network; a dataset that was fetched before is read without it."
        raise DataError(f"{source}: the hub can't be reached, and the dataset isn't in the cache", hint) from error
    except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        what = f"{source}: can't be read: {first_line(error)}"
        raise DataError(what, "Write hub:ORG/NAME:CONFIG@SPLIT.") from error


def _licence(*said: Any) -> str:
    """Return the first licence that is declared; "unknown" says no more than nothing."""
    for one in said:
        declared = getattr(one, "license", None) or ()
        named = [declared] if isinstance(declared, str) else [str(name) for name in declared]
        if named and named != ["unknown"]:
            return ", ".join(named)
    return ""


def _ask(source: str, ref: Ref, datasets: Any) -> Any:
    """Ask the hub once for the card; where it can't be reached, the library is left no more tries than its cache."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return HfApi().dataset_info(ref.name, timeout=_SECONDS).card_data
    except GatedRepoError as error:
        raise DataError(f"{source}: the hub asks for a login", "Run: hf auth login") from error
    except RepositoryNotFoundError as error:
        hint = "Check the name at the hub; a private dataset needs a login: hf auth login"
        raise DataError(f"{source}: the hub has no such dataset, or doesn't show it to you", hint) from error
    except Exception:  # noqa: BLE001 - whatever the reason, it can't be reached
        constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True
        return None


def _split(source: str, ref: Ref, known: list[str]) -> str:
    """Return the split that is meant: the one that is named, the only one, or ``train``."""
    split = ref.split or (known[0] if len(known) == 1 else "train")
    if split not in known:
        names = ", ".join(known) or "none"
        raise DataError(f"{source}: there is no split {split!r}", f"Add one of these to the name: @{names}")
    return split

"""What a file is and every fault in it, without importing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from honed.data.intake import Refused, taking
from honed.data.shapes import Shape
from honed.data.sources.row import Meter
from honed.records import Fault


def check(path: Path, shape: Shape | None = None) -> tuple[dict[str, Any], list[Fault]]:
    """Return what was counted in the file (``Intake.facts``) and its faults, in their order.

    A file without any row is a fault too. Raises ``DataError`` if the file can't be opened.
    """
    with taking(path, str(path), shape, Meter()) as (intake, rows):
        faults = [fault for found in rows if isinstance(found, Refused) for fault in found.faults]
    return intake.facts(), faults

"""A map as one HTML page that needs no network. What rows say is data: it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plotly.offline import get_plotlyjs

from honed.data.map import chart
from honed.data.map.chart import Dot as Dot
from honed.data.map.coverage import Coverage
from honed.look import pages
from honed.look.figures import COLOURS
from honed.store.workspace import write_whole

FILE = "map.html"


def write(folder: Path, found: Coverage, dots: Sequence[Dot]) -> Path:
    """Write the page into ``folder`` and return its path; ``dots`` are the rows that are drawn."""
    html = (
        pages.environment("honed.data.map")
        .get_template("map.html.j2")
        .render(
            found=found,
            charts=chart.figures(found, dots),
            drawn=len(dots),
            colours={**COLOURS, **chart.HUES},
            plotly_js=get_plotlyjs(),
        )
    )
    write_whole(folder / FILE, html)
    return folder / FILE

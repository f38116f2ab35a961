"""A learning curve as one HTML page that needs no network."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs

from honed.evaluate import charts, words
from honed.look import pages
from honed.rounds.curve import chart, needed, plan
from honed.rounds.curve.outcome import CurveOutcome
from honed.store.workspace import write_whole
from honed.train.objectives.kinds import KINDS

FILE = "curve.html"


def write(folder: Path, found: CurveOutcome) -> Path:
    """Write the page into ``folder`` and return its path. What names say is data: it is escaped."""
    html = (
        pages.environment("honed.rounds.curve")
        .get_template("curve.html.j2")
        .render(
            found=found,
            lowered=KINDS[found.objective].likelihood,
            differ=any(one.trained and one.trained.rows != one.size for one in found.points),
            charts=chart.figures(found),
            colours=charts.COLOURS,
            words=words,
            needed=needed,
            plan=plan,
            plotly_js=get_plotlyjs(),
        )
    )
    write_whole(folder / FILE, html)
    return folder / FILE

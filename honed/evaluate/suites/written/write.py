"""Write the suites of our own: ``python -m honed.evaluate.suites.written.write`` rewrites the folders that are read."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from honed.evaluate.suites.written import (
    audience,
    context,
    formats,
    knowledge,
    paraphrases,
    precision,
    safety,
    specificity,
    sycophancy,
    twins,
)
from honed.evaluate.suites.written.row import Written

SUITES: tuple[Written, ...] = (
    precision.SUITE,
    specificity.SUITE,
    context.SUITE,
    paraphrases.SUITE,
    twins.SUITE,
    audience.SUITE,
    knowledge.SUITE,
    formats.SUITE,
    safety.SUITE,
    sycophancy.SUITE,
)


def files(suite: Written) -> dict[str, str]:
    """Return the files of a suite's folder by name: the same text for the same suite."""
    lines = [json.dumps(row, ensure_ascii=False) for row in suite.rows()]
    text = "\n".join(lines) + "\n"
    manifest = {
        "name": suite.name,
        "title": suite.title,
        "source": "written for honed",
        "licence": "Apache-2.0",
        "rows": "rows.jsonl",
        "count": len(lines),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "max_tokens": suite.max_tokens,
    }
    return {"rows.jsonl": text, "manifest.json": json.dumps(manifest, indent=2) + "\n"}


def main() -> None:
    """Rewrite all folders."""
    home = Path(__file__).parents[1]
    for suite in SUITES:
        folder = home / suite.name
        folder.mkdir(exist_ok=True)
        for name, text in files(suite).items():
            (folder / name).write_text(text)
        sys.stdout.write(f"{folder}: {len(suite.rows())} rows\n")


if __name__ == "__main__":
    main()

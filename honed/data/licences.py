"""Licences of the sources of a dataset: carried along, and what they don't allow in a mix. No legal advice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from honed.store.artifacts import Artifact

UNKNOWN = "not declared"
CONSENT = "consent to train"
"""What stands in place of a licence where people allowed that what they said is trained on."""

Term = Literal["non-commercial", "no derivatives", "share-alike"]
_WORDS: Mapping[Term, frozenset[str]] = {
    "non-commercial": frozenset({"nc", "noncommercial"}),
    "no derivatives": frozenset({"nd", "noderivatives", "noderivs"}),
    "share-alike": frozenset({"sa", "sharealike", "gpl", "agpl", "lgpl", "odbl", "gfdl"}),
}
_PHRASES: Mapping[Term, tuple[str, ...]] = {
    "non-commercial": ("non commercial", "research only", "research use only", "academic use"),
    "no derivatives": ("no derivatives", "no derivative works"),
    "share-alike": ("share alike", "cdla sharing"),
}


class Conflict(NamedTuple):
    """What the licence of a source doesn't allow, in a sentence that names both."""

    source: str
    licence: str
    kind: str
    what: str


def carried(datasets: Iterable[Artifact]) -> dict[str, str]:
    """Return the licence of each source that the datasets were made of; ``UNKNOWN`` where nobody declared one."""
    found: dict[str, str] = {}
    for dataset in datasets:
        theirs = dataset.manifest.facts.get("licences") or {dataset.manifest.name: UNKNOWN}
        for source, licence in theirs.items():
            same = found.setdefault(source, licence) == licence
            if not same:
                found[f"{source} in {dataset.ref}"] = licence
    return found


def terms(licence: str) -> frozenset[Term]:
    """Return what a licence's name says of its terms: ``cc-by-nc-sa-4.0`` is non-commercial and share-alike."""
    text = " ".join(re.findall(r"[a-z]+", licence.lower()))
    words = frozenset(text.split())
    return frozenset(
        term for term in _WORDS if words & _WORDS[term] or any(phrase in text for phrase in _PHRASES[term])
    )


def conflicts(licences: Mapping[str, str]) -> Iterator[Conflict]:
    """Yield what stands against the commercial use of a mix of sources with these ``licences``."""
    alike = sorted({licence for licence in licences.values() if "share-alike" in terms(licence)})
    for source, licence in licences.items():
        if licence == UNKNOWN:
            what = f"nobody declared the licence of {source}: import it with --licence"
            yield Conflict(source, licence, "unknown licence", what)
            continue
        found = terms(licence)
        if "non-commercial" in found:
            yield Conflict(source, licence, "non-commercial", f"{source} is under {licence}: no commercial use")
        if "no derivatives" in found:
            what = f"{source} is under {licence}: nothing made of it may be passed on, and a mix is made of it"
            yield Conflict(source, licence, "no derivatives", what)
        if "share-alike" in found:
            what = f"{source} is under {licence}: what is made of it and passed on has to be under the same licence"
            if others := [other for other in alike if other != licence]:
                what += f", and {', '.join(others)} asks the same for itself"
            yield Conflict(source, licence, "share-alike", what)

"""How much of what was planted a check and a curation found, and what else they found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from honed.store.datasets import ROWS
from measure.personal import PERSONAL
from measure.planted import Planted
from measure.suspicious import SUSPICIOUS
from measure.truth import are_near

_SHOWN = 5
_AROUND = 40
_COUNTED = re.compile(r"(\d+) (\w+)")

Out = Mapping[str, tuple[str, str]]
"""For each row that was left out, by its id: the kind of the reason, and its sentence."""


def suspicions(faults: Sequence[Mapping[str, Any]], planted: Planted, lines: Sequence[int]) -> dict[str, Any]:
    """Return for each warning how many planted rows got it, and how many others, with some of these.

    ``lines[place]`` is the line of a row. The others are no mistakes as such: public sets have suspicious sentences.
    """
    places = {line: place for place, line in enumerate(lines)}
    given: dict[str, dict[int, str]] = {kind: {} for kind in SUSPICIOUS}
    for fault in faults:
        if fault["severity"] == "warning" and fault["kind"] in given and fault["line"] in places:
            given[fault["kind"]][places[fault["line"]]] = fault["message"]
    result = {}
    for kind, told in given.items():
        mine = {place for place, one in planted.suspicious.items() if one == kind}
        others = [place for place in told if place not in mine]
        shown = dict.fromkeys(f"{told[place]} | {planted.rows[place][1][:60]}" for place in others)
        result[kind] = {
            "planted": len(mine),
            "recall": _share(len(mine & told.keys()), len(mine)),
            "others": len(others),
            "examples": list(shown)[:_SHOWN],
        }
    return result


def near(planted: Planted, ids: Sequence[str], out: Out) -> dict[str, Any]:
    """Return recall over the planted pairs that are near duplicates, and precision over the dropped rows."""
    contaminated = {id_ for id_, (kind, _) in out.items() if "evaluation" in kind}
    truth = [
        (ids[one], ids[other])
        for one, other in planted.near
        if are_near(planted.rows[one], planted.rows[other]) and not {ids[one], ids[other]} & contaminated
    ]
    found = sum(one in out or other in out for one, other in truth)
    claims = [(id_, what.rsplit(" ", 1)[1]) for id_, (kind, what) in out.items() if kind == "near duplicate"]
    wanted = {id_ for claim in claims for id_ in claim}
    rows = {id_: row for id_, row in zip(ids, planted.rows, strict=True) if id_ in wanted}
    right = sum(are_near(rows[one], rows[other]) for one, other in claims)
    return {
        "planted_pairs": len(truth),
        "recall": _share(found, len(truth)),
        "dropped": len(claims),
        "precision": _share(right, len(claims)),
    }


def exact(planted: Planted, ids: Sequence[str], out: Out) -> dict[str, Any]:
    """Return recall over the planted pairs."""
    found = sum(ids[one] in out or ids[other] in out for one, other in planted.exact)
    return {"planted_pairs": len(planted.exact), "recall": _share(found, len(planted.exact))}


def decontaminated(planted: Planted, ids: Sequence[str], out: Out, told: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return how many planted runs of words were found, with the right evaluation row, and the other rows hit."""
    reported = {one["row"]: one["what"] for one in told if one["step"] == "decontaminate"}
    result: dict[str, Any] = {}
    for length in (8, 13):
        places = [place for place, (long, _) in planted.grams.items() if long == length]
        found = [out.get(ids[place], ("", ""))[1] or reported.get(ids[place], "") for place in places]
        named = [
            f"asked.jsonl:line {planted.grams[place][1] + 1}:" in what
            for place, what in zip(places, found, strict=True)
        ]
        result[f"{length}-grams"] = {"planted": len(places), "found": sum(map(bool, found)), "right_row": sum(named)}
    expected = {ids[place] for place in planted.grams}
    hits = {*reported, *(id_ for id_, (kind, _) in out.items() if "evaluation" in kind)}
    return {**result, "other_rows_hit": len(hits - expected)}


def masked(
    planted: Planted, ids: Sequence[str], out: Out, told: Sequence[Mapping[str, str]], folder: Path
) -> dict[str, Any]:
    """Return for each kind of personal data how much of it the step ``pii`` masked, and what else it took for it.

    Found is a sentence that stands in the new dataset with a mask in place of what was planted, and is else as it was.
    Precision is over rows with something planted; ``others`` are finds in rows with nothing, whose sentences may hold
    personal data themselves.
    """
    left = [place for place, id_ in enumerate(ids) if id_ not in out]
    finds = {one["row"]: one["what"] for one in told if one["step"] == "pii"}
    hits = {place: _counted(finds[ids[place]]) for place in left if ids[place] in finds}
    texts = _texts(folder, left, planted.personal.keys() | hits.keys())
    wrong: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for place, (kind, text, value) in planted.personal.items():
        if place in texts:
            good = text.replace(value, f"[{kind.upper()}]") in texts[place]
            right[kind] += good
            wrong.update(hits.get(place, Counter()) - Counter({kind: int(good)}))
    mine = Counter(planted.personal[place][0] for place in texts if place in planted.personal)
    result: dict[str, Any] = {}
    for kind in PERSONAL:
        alike = [place for place, one in planted.alike.items() if one == kind and ids[place] not in out]
        others = [place for place in hits if hits[place][kind] and not planted.holds(place)]
        result[kind] = {
            "planted": mine[kind],
            "recall": _share(right[kind], mine[kind]),
            "precision": _share(right[kind], right[kind] + wrong[kind]),
            "look_alikes": len(alike),
            "taken_for_personal": sum(place in hits for place in alike),
            "others": len(others),
            "examples": [_around(texts[place], f"[{kind.upper()}]") for place in others[:_SHOWN]],
        }
    return result


def _counted(what: str) -> Counter[str]:
    """Return the kinds of a finding: ``2 card, 1 email; not masked ...``."""
    return Counter({kind: int(count) for count, kind in _COUNTED.findall(what.partition(";")[0])})


def _texts(folder: Path, left: Sequence[int], wanted: Set[int]) -> dict[int, str]:
    """Return prompt and answer of some rows of a dataset whose rows are those with the numbers ``left``, in order."""
    texts: dict[int, str] = {}
    at = 0
    with pq.ParquetFile(folder / ROWS) as file:
        for batch in file.iter_batches(columns=["messages"]):
            places = [(row, left[at + row]) for row in range(len(batch)) if left[at + row] in wanted]
            at += len(batch)
            turns = batch["messages"].take(pa.array([row for row, _ in places], pa.int64())).to_pylist()
            texts |= {place: "\n".join(turn["content"] for turn in said)
                      for (_, place), said in zip(places, turns, strict=True)}  # fmt: skip
    assert at == len(left), "rows are missing that no reason was given for"
    return texts


def _around(text: str, mask: str) -> str:
    at = text.find(mask)
    return text[max(0, at - _AROUND) : at + len(mask) + _AROUND]


def _share(some: int, of: int) -> float | None:
    return some / of if of else None

"""Where in a text something personal stands: a pattern for each kind, and the check that its matches must pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from honed.data.curate.personal import numbers

Kind = Literal[
    "email",
    "iban",
    "fr_nir",
    "card",
    "us_ssn",
    "it_fiscal_code",
    "uk_nino",
    "es_dni",
    "de_tax_id",
    "nl_bsn",
    "ip",
    "phone",
]
_NEAR = 48
"""Characters before a match in which the word that gives its meaning is looked for."""


class Span(NamedTuple):
    """A part of a text, and what it is."""

    start: int
    end: int
    kind: str

    def overlaps(self, other: Span) -> bool:
        """Tell whether the two share a character."""
        return self.start < other.end and other.start < self.end


class Pattern(NamedTuple):
    """How one kind looks, the check of a match, and, for plain numbers, the words that must stand before it.

    ``within`` stands in every match and is told in a fraction of the time: most texts have none of it.
    """

    look: re.Pattern[str]
    check: Callable[[str], bool]
    within: re.Pattern[str]
    beside: re.Pattern[str] | None = None


def _pattern(look: str, check: Callable[[str], bool], within: re.Pattern[str], beside: str = "") -> Pattern:
    return Pattern(re.compile(look), check, within, re.compile(f"(?i){beside}") if beside else None)


def _iban() -> str:
    """Return what IBANs look like, of each country as long as it has them: the next word is no part of one."""
    countries: dict[int, list[str]] = {}
    for country, length in numbers.IBAN_LENGTHS.items():
        countries.setdefault(length, []).append(country)
    forms = [
        rf"(?i:{'|'.join(names)})[0-9]{{2}}(?:[ -]?[A-Za-z0-9]{{4}}){{{length // 4 - 1}}}"
        + (rf"[ -]?[A-Za-z0-9]{{{length % 4}}}" if length % 4 else "")
        for length, names in countries.items()
    ]
    return rf"(?<!\w)(?=[A-Za-z]{{2}}[0-9]{{2}})(?:{'|'.join(forms)})(?!\w)"


_EMAIL = (
    r"(?<![\w.+-])[A-Za-z0-9][\w.+%-]{0,63}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
_CARD = r"(?<![\w.])(?<![A-Z]{2}\d\d )\d(?:[ -]?\d){12,18}(?!\w|\.\d)"
_USUAL_CARD = (  # in its usual groups, whatever numbers stand beside it: a date and a code behind, a count before
    r"(?<![\w.])(?<!\d-)(?<![A-Z]{2}\d\d )(?<!\b\d{4} )"
    r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{3,4}|\d{4}([ -])\d{6}\2\d{4,5})(?!\w|\.\d)"
)
_NIR = r"(?<!\w)[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}(?!\w)"
_CODICE = r"(?i)(?<!\w)[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z](?!\w)"
_NINO = r"(?<!\w)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)"
_DNI = r"(?<!\w)(?:[XYZ][ -]?\d{7}|\d{8}|\d{2}\.\d{3}\.\d{3})[ -]?[A-HJ-NP-TV-Z](?!\w)"
_BSN = r"(?<!\w)\d{3}[ .]?\d{3}[ .]?\d{3}(?!\w)|(?<!\w)\d{4}[ .]\d{2}[ .]\d{3}(?!\w)"
_IPV4 = (  # versions and numbers of sections look like addresses
    r"(?<![\w.§])(?<![vV]ersion )(?<![vV]er )(?<!§ )(?<![sS]ection )(?<![cC]lause )(?<![aA]rticle )(?<![cC]hapter )"
    r"(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"
)
_IPV6 = r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:(?::|(?=[0-9A-Fa-f]{1,4}:))|::)[0-9A-Fa-f:]{0,38}(?![\w:])"
_ABROAD = (
    r"(?<![\w+.])(?<!\d )(?:\+|00)[1-9]\d{0,2}[ .\-/]?(?:\(0?\d{1,4}\)[ .\-/]?)?"
    r"\d{1,5}(?:[ .\-/]?\d{2,5}){1,5}(?![\w]|[.\-]\d)"
)
_AMERICAN = r"(?<![\w+.\-])(?:1[ .\-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.\- ])[2-9]\d{2}[.\- ]\d{4}(?![\w]|[.\-]\d)"
_SPOKEN = r"(?<![\w+.\-/])\(?0?\d{2,5}\)?(?:[ .\-/]{1,2}\d{2,8}){1,5}(?![\w]|[.\-]\d)|(?<![\w+.\-/])0\d{8,12}(?!\w)"
_CALLED = (
    r"\b(?:tel|phone|telephone|mobile|cell|call|fax|whatsapp|sms|text me|telefon\w*|handy|"
    r"t[ée]l[ée]phone|tel[ée]fono|reach (?:me|us|him|her|them))\b[^\d\n]*$"
)

_DIGITS = re.compile(r"\d(?:[ ./()-]{0,3}\d){5}")
_LONG = re.compile(r"(?<!\w)\w{16}(?!\w)")

PATTERNS: Mapping[Kind, tuple[Pattern, ...]] = {
    "email": (_pattern(_EMAIL, numbers.email, re.compile("@")),),
    "iban": (_pattern(_iban(), numbers.iban, re.compile(r"[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}")),),
    "fr_nir": (_pattern(_NIR, numbers.fr_nir, re.compile(r"[12] ?\d{2} ?\d{2} ?\d")),),
    "card": (_pattern(_CARD, numbers.card, _DIGITS), _pattern(_USUAL_CARD, numbers.card, _DIGITS)),
    "us_ssn": (
        _pattern(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", numbers.us_ssn, _DIGITS),
        _pattern(r"(?<!\w)\d{3} ?\d{2} ?\d{4}(?!\w)", numbers.us_ssn, _DIGITS, r"\bssn\b|social security"),
    ),
    "it_fiscal_code": (_pattern(_CODICE, numbers.it_fiscal_code, _LONG),),
    "uk_nino": (_pattern(_NINO, numbers.uk_nino, _DIGITS),),
    "es_dni": (_pattern(_DNI, numbers.es_dni, _DIGITS),),
    "de_tax_id": (
        _pattern(
            r"(?<!\w)\d{2} ?\d{3} ?\d{3} ?\d{3}(?!\w)",
            numbers.de_tax_id,
            _DIGITS,
            r"steuer|\bidnr|\btin\b|\btax\b|\bst\.? ?-?id",
        ),
    ),
    "nl_bsn": (_pattern(_BSN, numbers.nl_bsn, _DIGITS, r"\bbsn\b|burgerservice|sofi-?nummer|citizen service"),),
    "ip": (
        _pattern(_IPV4, numbers.ip, re.compile(r"\d\.\d{1,3}\.\d")),
        _pattern(_IPV6, numbers.ip, re.compile(r":[0-9A-Fa-f]{0,4}:")),
    ),
    "phone": (
        _pattern(_ABROAD, numbers.phone, _DIGITS),
        _pattern(_AMERICAN, numbers.phone, _DIGITS),
        _pattern(_SPOKEN, numbers.phone, _DIGITS, _CALLED),
    ),
}
"""In the order in which they are looked for: of two that overlap, the first holds."""

_DIGIT = re.compile(r"\d")


def spans(text: str, kinds: Collection[str] = tuple(PATTERNS)) -> list[Span]:
    """Return what of ``kinds`` stands in ``text``, in the text's order; nothing overlaps."""
    found: list[Span] = []
    taken = bytearray(len(text))  # 1 where something was found: a text may hold any number of things
    there: dict[re.Pattern[str], bool] = {}
    has_digit = _DIGIT.search(text) is not None
    for kind, patterns in PATTERNS.items():
        if kind not in kinds or not ("@" in text if kind == "email" else has_digit):
            continue
        for pattern in patterns:
            if pattern.within not in there:
                there[pattern.within] = pattern.within.search(text) is not None
            for one in _matches(text, kind, pattern) if there[pattern.within] else ():
                if 1 not in taken[one.start : one.end]:
                    taken[one.start : one.end] = b"\1" * (one.end - one.start)
                    found.append(one)
    return sorted(found)


def _matches(text: str, kind: str, pattern: Pattern) -> Iterator[Span]:
    for match in pattern.look.finditer(text):
        before = text[max(0, match.start() - _NEAR) : match.start()]
        if pattern.check(match[0]) and (pattern.beside is None or pattern.beside.search(before)):
            yield Span(match.start(), match.end(), kind)


def masked(text: str, found: Collection[Span]) -> str:
    """Return ``text`` with each span replaced by its kind in brackets: ``[EMAIL]``."""
    parts, at = [], 0
    for span in sorted(found):
        parts += [text[at : span.start], f"[{span.kind.upper()}]"]
        at = span.end
    return "".join([*parts, text[at:]])

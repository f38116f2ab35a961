"""The checks that numbers of people and accounts carry: a number that fails its own check is no such number."""

from __future__ import annotations

import re
from ipaddress import ip_address

_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
    "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
IBAN_LENGTHS = {item[:2]: int(item[2:]) for item in _LENGTHS.split()}
"""Characters of an IBAN by its country (ISO 13616)."""
_CARDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7]|35)\d{14}|3[47]\d{13}|3[068]\d{12}|6\d{15}(?:\d{3})?|(?:50|5[6-9])\d{14}"
)
"""Beginnings and lengths of numbers: Visa, Mastercard, JCB, American Express, Diners, Discover, UnionPay, Maestro."""
_NOBODY = frozenset({"git", "hg", "svn", "noreply", "no-reply", "donotreply", "do-not-reply"})
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "pdf", "txt", "js", "css", "html", "json"})
_MONTH, _DAY, _YEAR = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])", r"(?:1[5-9]|20)\d\d"
_DATE = re.compile(rf"{_YEAR}([./-]){_MONTH}\1{_DAY}|(?:{_DAY}([./-]){_MONTH}\2|{_MONTH}([./-]){_DAY}\3){_YEAR}")
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_CF_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CF_VALUES = "1 0 5 7 9 13 15 17 19 21 1 0 5 7 9 13 15 17 19 21 2 4 18 20 11 3 6 8 12 14 16 10 22 25 24 23"
_CF_ODD = dict(zip(_CF_SIGNS, map(int, _CF_VALUES.split()), strict=True))


def digits(text: str) -> str:
    """Return the ASCII digits of ``text``."""
    return "".join(char for char in text if char in "0123456789")


def luhn(text: str) -> bool:
    """Tell whether the digits pass the check of ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits(text))):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def card(text: str) -> bool:
    """Tell a payment card's number: a length and a beginning that networks use, and the check of Luhn."""
    number = digits(text)
    return len(set(number)) > 1 and bool(_CARDS.fullmatch(number)) and luhn(number)


def iban(text: str) -> bool:
    """Tell an IBAN (ISO 13616): the length of its country, and 1 as the remainder by 97."""
    plain = re.sub(r"[\s-]", "", text).upper()
    if IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def ip(text: str) -> bool:
    """Tell an IP address that may be a person's: neither this machine, nor everybody, nor nobody."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or text.startswith("255."))


def email(text: str) -> bool:
    """Tell a person's e-mail address: nobody's are those of ``git@host``, of mail without reply and of ``a@2x.png``."""
    name, _, host = text.lower().partition("@")
    return name not in _NOBODY and host.rpartition(".")[2] not in _FILES


def phone(text: str) -> bool:
    """Tell a telephone number by its count of digits (ITU-T E.164: 15 at most; no network has fewer than 7).

    A date isn't one (``2019-05-12``, ``12.05.2019``).
    """
    number = digits(text)
    return 7 <= len(number) <= 15 and len(set(number)) > 2 and _DATE.fullmatch(text) is None


def us_ssn(text: str) -> bool:
    """Tell a US social security number: areas 000, 666 and 900-999, group 00 and serial 0000 are never given."""
    number = digits(text)
    area, group, serial = number[:3], number[3:5], number[5:]
    return len(number) == 9 and area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def de_tax_id(text: str) -> bool:
    """Tell a German tax id: one digit twice or thrice among the first ten, and the check of ISO 7064, MOD 11,10."""
    number = digits(text)
    repeats = sorted(number[:10].count(digit) for digit in set(number[:10]))
    if len(number) != 11 or number[0] == "0" or repeats[-1:] not in ([2], [3]) or repeats.count(repeats[-1]) > 1:
        return False
    rest = 10
    for digit in number[:10]:
        total = (int(digit) + rest) % 10 or 10
        rest = 2 * total % 11
    return (11 - rest) % 10 == int(number[10])


def fr_nir(text: str) -> bool:
    """Tell a French social security number: 97 less its first 13 digits' remainder by 97 is its key."""
    plain = re.sub(r"[\s.-]", "", text).upper()
    body = plain[:13].replace("2A", "19", 1) if plain[5:7] == "2A" else plain[:13]
    body = body.replace("2B", "18", 1) if plain[5:7] == "2B" else body
    return len(plain) == 15 and body.isdigit() and plain[13:].isdigit() and 97 - int(body) % 97 == int(plain[13:])


def nl_bsn(text: str) -> bool:
    """Tell a Dutch citizen service number by its eleven test."""
    number = digits(text)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    if len(number) != 9 or len(set(number)) == 1:
        return False
    return sum(weight * int(digit) for weight, digit in zip(weights, number, strict=True)) % 11 == 0


def es_dni(text: str) -> bool:
    """Tell a Spanish DNI or NIE by its letter."""
    plain = re.sub(r"[\s.-]", "", text).upper()
    number = str("XYZ".index(plain[0])) + plain[1:-1] if plain[0] in "XYZ" else plain[:-1]
    return len(number) == 8 and number.isdigit() and _DNI_LETTERS[int(number) % 23] == plain[-1]


def uk_nino(text: str) -> bool:
    """Tell a UK national insurance number by the prefixes that are given out (HMRC, NIM39110)."""
    plain = re.sub(r"\s", "", text).upper()
    return plain[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def it_fiscal_code(text: str) -> bool:
    """Tell an Italian codice fiscale by its last letter (decree of 23 December 1976)."""
    plain = text.upper()
    if not plain.isascii():  # a look without case also takes the sign of Kelvin for a K
        return False
    odd = sum(_CF_ODD[char] for char in plain[0:15:2])
    even = sum(int(char) if char.isdigit() else ord(char) - 65 for char in plain[1:15:2])
    return chr(65 + (odd + even) % 26) == plain[15]

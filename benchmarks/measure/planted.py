"""Rows with planted faults: known duplicates, parts of evaluation rows, personal data, so that finds can be counted.

Everything is drawn from a seed. What a checksum asks for is worked out here on its own, digit by digit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from honed.builtin.load import load

DECOYS = (
    "Order 4539 1488 0343 6468 has shipped.",  # a card's number but for its check digit
    "The invoice IBAN DE89 3704 0044 0532 0130 01 is wrong.",  # two digits swapped
    "ISBN 978-3-16-148410-0 costs 24.99 euros.",
    "Upgrade to version 10.4.12.3 of the driver.",
    "The war lasted from 1914-1918, the treaty came on 1919-06-28.",
    "The population grew from 1 234 567 to 2 345 678 people.",
    "Ticket 000-12-3456 was closed at 12:30:45.",
    "Pi is 3.14159265358979 and e is 2.71828182845905.",
    "Write to us at support at example dot org.",
    "Use the format name@domain in the field.",
    "Chapter 12.5.3.400 covers the protocol.",
    "The part number is 12345678A and the batch is 87654321.",
    "Scores: 10-12-2004, 15 to 20, 3/4, 1 000 000 km.",
    "The model has 135 000 000 parameters in 30 layers.",
    "Room 301, building 7, opened 2021-03-04 at 09:00.",
    "Add 555 and 1234567 to get 1235122.",
)
"""Texts with numbers that are nobody's: whatever is found in them is a mistake."""

_NOUNS = (
    "river copper lantern meadow signal harbor velvet orchard granite compass feather timber saddle ribbon crystal "
    "thunder pebble walnut marble canyon ember falcon glacier hollow island jasmine kettle ladder mirror needle"
)
_WORDS = _NOUNS.split()
_UNENDED = 0.02
"""Answers without a full stop: in public sets 0.2 to 1.3 % of them look cut."""


def luhn_digit(body: str) -> str:
    """Return the digit that makes ``body`` pass Luhn's check."""
    total = 0
    for place, char in enumerate(reversed(body)):
        doubled = int(char) * 2 if place % 2 == 0 else int(char)
        total += doubled // 10 + doubled % 10
    return str(-total % 10)


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def _card(draw: random.Random) -> str:
    body = draw.choice(("4", "51", "55", "37", "6011"))
    body += _digits(draw, (14 if body == "37" else 15) - len(body))
    number = body + luhn_digit(body)
    return number if draw.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _iban(draw: random.Random) -> str:
    country, bban = draw.choice(
        (
            ("DE", _digits(draw, 18)),
            ("NL", "ABNA" + _digits(draw, 10)),
            ("FR", _digits(draw, 23)),
            ("ES", _digits(draw, 20)),
            ("AT", _digits(draw, 16)),
        )
    )
    value = int("".join(str(int(char, 36)) for char in f"{bban}{country}00"))
    number = f"{country}{98 - value % 97:02}{bban}"
    return number if draw.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _email(draw: random.Random) -> str:
    name = draw.choice(("{}.{}", "{}_{}", "{}{}")).format(draw.choice(_WORDS), draw.choice(_WORDS))
    return f"{name}{draw.choice(('', '7', '+news'))}@{draw.choice(_WORDS)}.{draw.choice(('com', 'co.uk', 'de', 'io'))}"


def _ip(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return "2001:db8:" + ":".join(f"{draw.randrange(1, 65536):x}" for _ in range(6))
    return ".".join(str(draw.randrange(1, 224)) for _ in range(4)).replace("127.", "128.", 1)


def _phone(draw: random.Random) -> str:
    forms = (
        "+49 30 {4} {4}",
        "+1 (415) 5{2}-{4}",
        "+33 6 {2} {2} {2} {2}",
        "(212) 7{2}-{4}",
        "617-4{2}-{4}",
        "+44 20 7{3} {4}",
    )
    form = draw.choice(forms)
    for count in "234":
        while "{" + count + "}" in form:
            form = form.replace("{" + count + "}", _digits(draw, int(count)), 1)
    return form


def _ssn(draw: random.Random) -> str:
    return f"{draw.randrange(100, 665)}-{draw.randrange(1, 100):02}-{draw.randrange(1, 10000):04}"


def _tax_id(draw: random.Random) -> str:
    order = draw.sample("0123456789", 9)
    body = [*order, order[draw.randrange(9)]]
    draw.shuffle(body)
    if body[0] == "0":
        body.reverse()
    if body[0] == "0":
        body[0], body[1] = body[1], body[0]
    rest = 10
    for char in body:
        rest = ((int(char) + rest) % 10 or 10) * 2 % 11
    return "".join(body) + str((11 - rest) % 10)


def _nir(draw: random.Random) -> str:
    birth = f"{draw.randrange(40, 99)}{draw.randrange(1, 13):02}"
    body = f"{draw.choice('12')}{birth}{draw.randrange(1, 96):02}{_digits(draw, 6)}"
    return f"{body}{97 - int(body) % 97:02}"


def _bsn(draw: random.Random) -> str:
    while True:
        body = str(draw.randrange(10_000_000, 99_999_999))
        last = sum(int(char) * weight for char, weight in zip(body, range(9, 1, -1), strict=True)) % 11
        if last < 10:
            return f"{body}{last}"


def _dni(draw: random.Random) -> str:
    number = draw.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _nino(draw: random.Random) -> str:
    pairs = " ".join(_digits(draw, 2) for _ in range(3))
    return f"{draw.choice(('AB', 'CE', 'JG', 'PR', 'SW'))} {pairs} {draw.choice('ABCD')}"


def _codice(draw: random.Random) -> str:
    name = "".join(draw.choice("BCDFGLMNPRSTV") for _ in range(6))
    body = f"{name}{draw.randrange(40, 99)}{draw.choice('ABCDEHLMPRST')}"
    body += f"{draw.randrange(1, 32):02}{draw.choice('ABCDEFGHIL')}{draw.randrange(100, 999)}"
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    letters = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    odd |= dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", letters, strict=True))
    total = sum(
        odd[char] if place % 2 == 0 else int(char, 36) - (10 if char.isalpha() else 0)
        for place, char in enumerate(body)
    )
    return body + chr(ord("A") + total % 26)


PERSONAL: Mapping[str, tuple[tuple[str, ...], Callable[[random.Random], str]]] = {
    "email": (("Please write to {} about it.",), _email),
    "phone": (("You can call me on {} after six.",), _phone),
    "card": (("I paid with {} last week.", "Use {} 12/25 123 for it.", "Take 12 {} 04/2027."), _card),
    "iban": (("Send the money to {} please.",), _iban),
    "ip": (("The request came from {} at noon.",), _ip),
    "us_ssn": (("The applicant's number is {} here.",), _ssn),
    "de_tax_id": (("Meine Steuer-ID ist {} seit 2010.",), _tax_id),
    "fr_nir": (("Le patient {} est venu.",), _nir),
    "nl_bsn": (("Het BSN is {} volgens hem.",), _bsn),
    "es_dni": (("El titular con DNI {} firma.",), _dni),
    "uk_nino": (("The member {} has left.",), _nino),
    "it_fiscal_code": (("Il codice fiscale {} manca.",), _codice),
}
"""For each kind the sentences that it stands in, and how one is drawn."""


def personal(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield sentences with one planted thing of ``kind`` each, and the thing itself."""
    sentences, make = PERSONAL[kind]
    draw = random.Random(f"{kind}{seed}")
    for _ in range(count):
        value = make(draw)
        yield draw.choice(sentences).format(value), value


@dataclass
class Planted:
    """Rows as (prompt, answer), and what was planted in them, by place."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)
    exact: list[tuple[int, int]] = field(default_factory=list)
    grams: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Place of a row: words planted in a row, and the evaluation row that they are from."""


def drawn(rows: int, evaluation: Sequence[str], seed: int = 0) -> Planted:
    """Return ``rows`` rows made of the embedded set's words: 5 % near and 2 % exact duplicates, 1 % contaminated."""
    draw = random.Random(seed)
    sources = [row for row in load("train") if len(row.messages) == 2 or row.messages[0].role == "system"]
    pool = [word for row in sources for word in row.answer.split() if word.isalpha()]
    planted = Planted()
    while len(planted.rows) < rows:
        at, kind = len(planted.rows), draw.random()
        if kind < 0.05 and at:
            first = draw.randrange(at)
            planted.near.append((first, at))
            planted.rows.append(tuple(_edited(draw, text, pool) for text in planted.rows[first]))  # type: ignore[arg-type]
        elif kind < 0.07 and at:
            first = draw.randrange(at)
            planted.exact.append((first, at))
            planted.rows.append(tuple(f"{text.upper()} " for text in planted.rows[first]))  # type: ignore[arg-type]
        else:
            prompt, answer = _words(draw, pool, 12, 40), _words(draw, pool, 30, 80)
            if kind < 0.08 and evaluation:
                length, source = draw.choice((8, 13)), draw.randrange(len(evaluation))
                said = evaluation[source].split()
                start = draw.randrange(len(said) - length + 1)
                answer = f"{answer} {' '.join(said[start : start + length])} {_words(draw, pool, 5, 9)}"
                planted.grams[at] = (length, source)
            planted.rows.append((prompt, answer if draw.random() < _UNENDED else f"{answer}."))
    return planted


def evaluation_prompts(count: int, seed: int = 1) -> list[str]:
    """Return prompts of an evaluation set of its own, of 20 to 40 words."""
    draw = random.Random(seed)
    return [
        " ".join(f"{draw.choice(_WORDS)}{draw.randrange(1000)}" for _ in range(draw.randrange(20, 41)))
        for _ in range(count)
    ]


def _words(draw: random.Random, pool: Sequence[str], least: int, most: int) -> str:
    return " ".join(draw.choices(pool, k=draw.randrange(least, most + 1)))


def _edited(draw: random.Random, text: str, pool: Sequence[str]) -> str:
    """Replace one word, or up to one in fifteen: the Jaccard of runs of three words is then 0.65 to 0.97."""
    said = text.split()
    for _ in range(draw.randint(1, max(1, len(said) // 15))):
        said[draw.randrange(len(said))] = draw.choice(pool)
    return " ".join(said)

"""Personal data that is nobody's, in sentences as people write them, and numbers that only look like it.

Everything is drawn from a seed. What a checksum asks for is worked out here on its own, digit by digit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

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
NAMES = _NOUNS.split()
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
"""The last sign of a DNI, by its number's remainder by 23."""


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
    name = draw.choice(("{}.{}", "{}_{}", "{}{}")).format(draw.choice(NAMES), draw.choice(NAMES))
    return f"{name}{draw.choice(('', '7', '+news'))}@{draw.choice(NAMES)}.{draw.choice(('com', 'co.uk', 'de', 'io'))}"


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
    number = f"{body}{97 - int(body) % 97:02}"
    if draw.random() < 0.5:
        return number
    ends = (1, 3, 5, 7, 10, 13, 15)
    return " ".join(number[start:end] for start, end in zip((0, *ends), ends, strict=False))


def _bsn(draw: random.Random) -> str:
    while True:
        body = str(draw.randrange(10_000_000, 99_999_999))
        last = sum(int(char) * weight for char, weight in zip(body, range(9, 1, -1), strict=True)) % 11
        if last < 10:
            return f"{body}{last}"


def _dni(draw: random.Random) -> str:
    number = draw.randrange(10_000_000, 99_999_999)
    return f"{number}{draw.choice(('', '-', ' '))}{_LETTERS[number % 23]}"


def _nino(draw: random.Random) -> str:
    return _nino_of(draw, ("AB", "CE", "JG", "PR", "SW"))


def _nino_of(draw: random.Random, prefixes: Sequence[str]) -> str:
    parts = (draw.choice(prefixes), *(_digits(draw, 2) for _ in range(3)), draw.choice("ABCD"))
    return draw.choice((" ", "")).join(parts)


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


Make = Callable[[random.Random], str]

PERSONAL: Mapping[str, tuple[tuple[str, ...], Make]] = {
    "email": (
        (
            "Please write to {} about it.",
            "Contact: {}.",
            "Her address <{}> bounced.",
            "Ask {}, she knows.",
            "See mailto:{} for help.",
            "Jo ({}) wrote this.",
        ),
        _email,
    ),
    "phone": (
        (
            "You can call me on {} after six.",
            "Phone: {}",
            "My number is {}.",
            "Text {} when you arrive.",
            "Her mobile ({}) is off.",
            "There is a fax too, {}, but nobody reads it.",
        ),
        _phone,
    ),
    "card": (
        (
            "I paid with {} last week.",
            "Use {} 12/25 123 for it.",
            "Take 12 {} 04/2027.",
            "Card number {}, please.",
            "My Visa ({}) was declined.",
            "Charge 49.90 to {}.",
        ),
        _card,
    ),
    "iban": (
        (
            "Send the money to {} please.",
            "IBAN: {}",
            "My account is {}, at the savings bank.",
            "The refund goes to {}.",
            "Bitte auf {} \u00fcberweisen.",
        ),
        _iban,
    ),
    "ip": (
        (
            "The request came from {} at noon.",
            "IP: {}",
            "Last login from {} on Monday.",
            "We blocked {}, as before.",
            "The printer ({}) is down.",
        ),
        _ip,
    ),
    "us_ssn": (
        (
            "The applicant's number is {} here.",
            "SSN: {}",
            "Her social security number is {}.",
            "Form W-2 for {} is missing.",
            "(SSN {})",
        ),
        _ssn,
    ),
    "de_tax_id": (
        (
            "Meine Steuer-ID ist {} seit 2010.",
            "Steuerliche Identifikationsnummer: {}",
            "IdNr. {}",
            "My German tax number is {}.",
            "Die Nummer vom Finanzamt lautet {}.",  # says nothing of tax by its name
        ),
        _tax_id,
    ),
    "fr_nir": (
        (
            "Le patient {} est venu.",
            "Num\u00e9ro de s\u00e9curit\u00e9 sociale : {}",
            "NIR {}",
            "Son num\u00e9ro est {}, je crois.",
        ),
        _nir,
    ),
    "nl_bsn": (
        (
            "Het BSN is {} volgens hem.",
            "Burgerservicenummer {}",
            "Mijn sofinummer was {}.",
            "Her Dutch citizen service number is {}.",
            "Het nummer op mijn paspoort is {}.",  # says nothing of a BSN
        ),
        _bsn,
    ),
    "es_dni": (
        ("El titular con DNI {} firma.", "DNI: {}", "Su documento ({}) ha caducado.", "My Spanish ID is {}."),
        _dni,
    ),
    "uk_nino": (
        ("The member {} has left.", "NI number: {}", "National Insurance no. {}.", "Payroll needs {} by May."),
        _nino,
    ),
    "it_fiscal_code": (
        ("Il codice fiscale {} manca.", "CF: {}", "Codice fiscale: {}.", "Her Italian tax code is {}."),
        _codice,
    ),
}
"""For each kind the sentences that it stands in, and how one is drawn."""


def _wrong(make: Make, last: str) -> Make:
    """Return what draws numbers whose last character is another one than its check asks for."""

    def made(draw: random.Random) -> str:
        value = make(draw)
        return value[:-1] + draw.choice([char for char in last if char != value[-1]])

    return made


def _date(draw: random.Random) -> str:
    return f"{draw.randrange(1900, 2030)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"


def _parts(draw: random.Random) -> str:
    return ".".join(str(draw.randrange(1, 20)) for _ in range(4))


LOOK_ALIKES: Mapping[str, tuple[tuple[str, ...], Make]] = {
    "email": (
        ("Clone git@{}.com:team/repo.git first.", "Use logo@{}x.png on it.", "Follow @{} there.", "Ask {} at work."),
        lambda draw: draw.choice(NAMES),
    ),
    "phone": (
        ("Call the meeting of {} off.", "From {} on it was closed.", "Phone sales by {}: up.", "Born {}, in Rome."),
        _date,
    ),
    "card": (
        ("Order {} has shipped.", "Track it with {} please.", "The serial is {}.", "Card {} was refused."),
        _wrong(_card, "0123456789"),
    ),
    "iban": (
        ("The invoice IBAN {} is wrong.", "Reference {}.", "Lot {} is sold."),
        _wrong(_iban, "0123456789"),
    ),
    "ip": (
        ("Upgrade to version {} of it.", "See v{} instead.", "Section {} of the report.", "Clause {} says so."),
        _parts,
    ),
    "us_ssn": (
        ("Ticket {} was closed.", "Her case, {}, is old.", "Part no. {} is sold out."),
        lambda draw: f"{draw.choice(('000', '666', '9' + _digits(draw, 2)))}-{_digits(draw, 2)}-{_digits(draw, 4)}",
    ),
    "de_tax_id": (
        ("Die Steuer-ID {} gibt es nicht.", "Steuerbescheid {}", "Rechnung {} ist bezahlt."),
        _wrong(_tax_id, "0123456789"),
    ),
    "fr_nir": (("Le dossier {} est clos.", "Facture {}"), _wrong(_nir, "0123456789")),
    "nl_bsn": (("Het BSN {} bestaat niet.", "Factuur {} is betaald."), _wrong(_bsn, "0123456789")),
    "es_dni": (("El art\u00edculo {} no existe.", "Batch {} is sold."), _wrong(_dni, _LETTERS)),
    "uk_nino": (
        ("Flight {} is late.", "The code is {}."),
        lambda draw: _nino_of(draw, ("BG", "GB", "NK", "ZZ", "DA", "QQ")),
    ),
    "it_fiscal_code": (("The licence {} has expired.", "Key {}"), _wrong(_codice, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
}
"""For each kind what is easily taken for it: a wrong check digit, a date, a version, a prefix that isn't given out."""


def personal(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield sentences with one planted thing of ``kind`` each, and the thing itself."""
    yield from _sentences(PERSONAL, kind, count, seed)


def look_alikes(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield sentences with something that is easily taken for ``kind``, and that thing itself."""
    yield from _sentences(LOOK_ALIKES, kind, count, seed)


def _sentences(
    table: Mapping[str, tuple[tuple[str, ...], Make]], kind: str, count: int, seed: int
) -> Iterator[tuple[str, str]]:
    sentences, make = table[kind]
    draw = random.Random(f"{kind}{seed}")
    for _ in range(count):
        value = make(draw)
        yield draw.choice(sentences).format(value), value

"""Personal data is found by form and checksum, and what only looks like it is left alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.data.curate.personal import numbers, patterns
from honed.data.curate.personal.patterns import PATTERNS, masked, spans


def kinds(text: str) -> list[str]:
    return [span.kind for span in spans(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe+news@mail.example.co.uk.", "email"),
        ("paid with 4111 1111 1111 1111", "card"),
        ("amex 378282246310005", "card"),
        ("to DE89 3704 0044 0532 0130 00 today", "iban"),
        ("to GB82WEST12345698765432.", "iban"),
        ("his number is 123-45-6789", "us_ssn"),
        ("SSN: 123456789", "us_ssn"),
        ("Steuer-ID 86095742719", "de_tax_id"),
        ("NIR 2 55 08 14 168 025 38", "fr_nir"),
        ("BSN 111222333", "nl_bsn"),
        ("DNI 12345678Z", "es_dni"),
        ("NIE X1234567L", "es_dni"),
        ("NI number AB 12 34 56 C", "uk_nino"),
        ("CF RSSMRA85T10A562S", "it_fiscal_code"),
        ("from 203.0.113.9 at noon", "ip"),
        ("from 2001:db8::ff00:42:8329 at noon", "ip"),
        ("ring +49 30 901820", "phone"),
        ("(415) 555-2671", "phone"),
        ("call 020 7946 0958", "phone"),
    ],
)
def test_each_kind_is_found_in_its_usual_form(text: str, kind: str) -> None:
    assert kinds(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "paid with 4111 1111 1111 1112",
        "to DE89 3704 0044 0532 0130 01 today",
        "666-45-6789, 000-12-3456, 900-12-3456",
        "Steuer-ID 86095742718",
        "BSN 111222334",
        "DNI 12345678A",
        "CF RSSMRA85T10A562T",
        "GB 12 34 56 A",
        "127.0.0.1, 0.0.0.0, 256.1.1.1 and version 10.4.12.3",
        "ISBN 978-3-16-148410-0",
        "9-4111-1111-1111-1111",
        "\u212aAAAAA11A11A111A",
        "from 1914-1918, on 1919-06-28, at 12:30:45",
        "std::vector and a::b",
        "a 135 000 000 parameter model",
        "me@home and @handle",
        "clone git@github.com:team/repo.git, logo@anna2x.png and noreply@shop.org",
        "call the meeting of 2019-05-12 off, phone sales by 12.05.2019, call on 12/31/2019",
        "Section 4.2.1.3, clause 10.4.12.3, \u00a74.2.1.3",
    ],
)
def test_what_fails_its_check_or_only_looks_alike_is_left_alone(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize(
    ("text", "masked_"),
    [
        ("ES91 2100 0418 4502 0005 1332 please", "[IBAN] please"),
        ("pay AT611904300234573201 for it", "pay [IBAN] for it"),
        ("BE68 5390 0754 7034 thanks", "[IBAN] thanks"),
        ("at DE89 3704 0044 0532 0130 00 and ES91 2100 0418 4502 0005 1332 each", "at [IBAN] and [IBAN] each"),
        ("4111 1111 1111 1111 12/25 123", "[CARD] 12/25 123"),
        ("4111111111111111 123", "[CARD] 123"),
        ("12 4111 1111 1111 1111", "12 [CARD]"),
        ("3782 822463 10005 1234", "[CARD] 1234"),
        ("order 987654 4111-1111-1111-1111 1", "order 987654 [CARD] 1"),
    ],
)
def test_what_stands_beside_a_card_or_an_iban_does_not_hide_it(text: str, masked_: str) -> None:
    assert masked(text, spans(text)) == masked_


@pytest.mark.parametrize(
    "piece", ["4 5 ", "4111 1111 1111 1112 ", "AT61 1904 ", "DE89 3704 0044 0532 0130 01 and ", "\u212a1"]
)
def test_hostile_text_is_read_to_its_end(piece: str) -> None:
    assert set(kinds(piece * 20_000)) <= {"phone"}


def test_a_mask_says_the_kind_and_leaves_all_else() -> None:
    text = "Jane (jane@x.org) paid with 4111111111111111."
    assert masked(text, spans(text)) == "Jane ([EMAIL]) paid with [CARD]."


def test_only_the_wanted_kinds_are_looked_for() -> None:
    assert [one.kind for one in spans("a@b.org and 4111111111111111", ["card"])] == ["card"]


def test_every_kind_has_patterns() -> None:
    assert all(PATTERNS.values())


def test_changing_any_digit_of_a_card_or_an_iban_breaks_its_check() -> None:
    for check, number in ((numbers.card, "4111111111111111"), (numbers.iban, "DE89370400440532013000")):
        assert check(number)
        for place in range(4, len(number)):
            other = str((int(number[place]) + 1) % 10)
            assert not check(f"{number[:place]}{other}{number[place + 1 :]}")


_THINGS = (
    "jane@x.org",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "123-45-6789",
    "Steuer-ID 86 095 742 719",
    "2 55 08 14 168 025 38",
    "BSN 111.222.333",
    "12.345.678Z",
    "X-1234567L",
    "AB 12 34 56 C",
    "RSSMRA85T10A562S",
    "203.0.113.9",
    "2001:db8::ff00:42:8329",
    "+49 (0)30) 901820",
    "(415) 555-2671",
    "call (020) 7946/09-58",
)
_PIECES = st.one_of(st.sampled_from(_THINGS), st.sampled_from("0123456789 .-/()+:@aAzZ2\n\u212a\u0663"))


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_what_a_text_must_have_for_a_kind_hides_nothing(text: str) -> None:
    everywhere = re.compile("")
    looked = {kind: tuple(one._replace(within=everywhere) for one in PATTERNS[kind]) for kind in PATTERNS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "PATTERNS", looked)
        expected = spans(text)
    assert spans(text) == expected

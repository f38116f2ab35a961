"""The sentences of the held-out rows, by family. Nothing here may occur in ``train_wordings``."""

from __future__ import annotations

from honed.builtin.pools.pool import Topic, Wordings

_TICKETS = {
    "billing": (
        "My bank statement lists two payments for a single {p}.",
        "There is an amount on the {p} invoice that I don't recognise.",
        "Could you correct the total on my bill? The {p} was on sale.",
        "I need a copy of the invoice for a {p} bought in May.",
        "Is it possible to pay for a {p} by bank transfer?",
        "It looks as if I was charged too much money for the {p}.",
    ),
    "delivery": (
        "It has been ten days and the parcel with the {p} still hasn't come.",
        "Has the {p} left your warehouse? I want to know when it arrives.",
        "The courier says that {n} signed for the {p}, but nobody did.",
        "Could the {p} be shipped to a different address in {c}?",
        "The tracking number you gave me for the {p} doesn't exist.",
        "Will the delivery of the {p} come in the morning or the evening?",
    ),
    "repair": (
        "The {p} is broken, it switches itself off after a few seconds.",
        "One of the buttons on the {p} is stuck and does nothing.",
        "A rattling noise comes from inside the {p}, can it be fixed?",
        "Since {d}, the {p} refuses to start.",
        "The hinge of our {p} has snapped and we need a new part.",
        "Our {p} worked for a year, but now its battery is dead.",
    ),
    "returns": (
        "We don't like the {p} and want to return it.",
        "What do I have to do to send back an unused {p}?",
        "Could I exchange the {p} for another model?",
        "This {p} was a present, and {n} wants to give it back.",
        "Is a return label included in the box of the {p}?",
        "I ordered a {p} by mistake. May I return the whole thing?",
    ),
    "account": (
        "The website says that my password is wrong when I look up the {p}.",
        "Could you help me log in? I have to enter the {p} serial number.",
        "We moved, so the address in our {p} profile is out of date.",
        "I'd rather use another email for the {p} account.",
        "How can {n} create a new account for the {p}?",
        "My {p} membership was closed and I can't sign in any more.",
    ),
    "safety": (
        "There was black smoke and a burning smell from the {p}.",
        "I burned my hand because the {p} became far too hot.",
        "{n} got a shock after touching the {p}.",
        "Flames came out of the back of our {p}!",
        "A piece of glass from the {p} cut my daughter.",
        "We saw sparks under the {p}, is it dangerous to use?",
    ),
}

WORDINGS = Wordings(
    tickets=_TICKETS,
    records=(
        "Hello, {name} speaking. My {product} with the number {order} is still in {city}.",
        "Next {day}, {name} will pick up {quantity} pieces of the {colour} {product}.",
        "A {colour} {product} was returned in {city} under order {order}.",
        "We promised {name} the {product} for {day}; the order is {order}.",
        "{quantity} boxes with {product} left for {city} on {day}.",
        "The client {name} prefers the {product} in {colour} and lives in {city}.",
    ),
    record_asks=(
        "Please pull out {f} from this message:\n{t}",
        "{t}\nWhich values belong to {f}?",
        "Message: {t}\nKeys wanted: {f}",
    ),
    briefs=(
        "Here is our data: {facts}\nPlease inform the buyer. {c}",
        "A buyer wants to know more about the {p}. {facts} {c}",
        "Subject: the {p}. Notes: {facts}\n{c}",
        "Notes: {facts}\nTurn them into a message. {c}",
    ),
    constraints={
        "bullets": (
            "Your answer has exactly {v} bullet points.",
            "Please list {v} bullets.",
            "Only {v} bullets are allowed.",
        ),
        "max_words": (
            "Stay within {v} words.",
            "Your answer may have {v} words at most.",
            "Write fewer than {w} words.",
        ),
        "include": ('Mention the word "{v}" somewhere.', 'Be sure to include the word "{v}".'),
        "avoid": ('Never say the word "{v}".', 'Your text must not contain the word "{v}".'),
        "ending": ('Your final words are "{v}"', 'Close the message with "{v}"'),
        "lower": ("All letters must be lower case.", "Please avoid capital letters entirely."),
        "upper": ("All letters must be upper case.", "Please put the whole text in capital letters."),
    },
    amendments={
        "bullets": (
            "I changed my mind: {v} bullets, please.",
            "Could you give me {v} bullet points instead?",
            "It has to be {v} bullets after all.",
        ),
        "ending": ('Please use another ending: "{v}"', 'It should now close with "{v}" instead.'),
        "nickname": ('Its new name is "{v}", so use that.', 'Rewrite it with the name "{v}" in place of {p}.'),
        "lower": ("Please rewrite that in lower case.", "Lower case letters only from here on."),
    },
    advice=(
        "Not many buyers of a {p} know this trick. It is a good idea to {a} {t}, since most trouble starts there.",
        "Our team has used the {p} in the shop for ages. What they do is to {a} {t}, and it still runs like new.",
        "Do you want to protect a {p} from harm? Then it is a good plan to {a} {t} and never to skip it.",
    ),
    requests={
        "colour": (
            "Reserve the [{v} ]{p} under the name {n}, please.",
            "My office would love a [{v} ]{p}.",
            "How soon could you deliver a [{v} ]{p}?",
            "{n} is looking for a {p}[ in {v}] on {d}.",
        ),
        "size": (
            "Is the [{v} ]{p} still on sale?",
            "We decided to take the [{v} ]{p} for our garden.",
            "Let me reserve a [{v} ]{p} until {d}.",
            "{n} asked me to get a [{v} ]{p} from you.",
        ),
        "day": (
            "Could a technician look at the {p}[ on {v}]?",
            "{n} wants to visit you[ on {v}] to see the {p}.",
            "Let us move the delivery of the {p}[ to {v}].",
            "Would you kindly fetch the old {p} from us[ on {v}]?",
        ),
        "city": (
            "My cousin[ in {v}] should receive the {p}.",
            "Where could {n} try out a {p}[ in {v}]?",
            "Have the {p} delivered to our office[ in {v}].",
            "A customer[ from {v}] has asked for a {p} by {d}.",
        ),
        "order number": (
            "Has my payment for order[ {v}], the {p}, arrived?",
            "Something was missing in the {p} order[ {v}].",
            "Could you change the address of order[ {v}]? It is the {p}.",
            "{n} is asking whether the order[ {v}] with the {p} was sent.",
        ),
        "quantity": (
            "Could you reserve[ {v}] {p} tickets for {n}?",
            "Our school would like[ {v}] {p} kits.",
            "Deliver[ {v}] {p} bags to the {c} shop.",
            "How much would[ {v}] {p} covers cost in total?",
        ),
    },
    request_asks=("Look for the {f}: {t}", "Message: {t}\nThe form asks for the {f}.", "{t}\nRequired detail: {f}."),
    policy_asks=("House rules: {t}\nThe customer wants to know: {q}", "Read this first. {t} Now answer: {q}"),
    topics=(
        Topic(
            "warranties",
            "Warranties run for {v}.",
            ("How many years do warranties run?", "What is the length of your warranties?"),
            ("four years", "seven years", "24 months"),
        ),
        Topic(
            "exchanges",
            "Exchanges are possible within {v}.",
            ("How soon must I ask for exchanges?", "Within what time are exchanges possible?"),
            ("10 days", "21 days", "45 days"),
        ),
        Topic(
            "installation",
            "Installation is priced at {v}.",
            ("What is the price of installation?", "How expensive is installation?"),
            ("80 marks", "95 marks", "110 marks"),
        ),
        Topic(
            "express parcels",
            "Express parcels arrive before {v}.",
            ("At what time do express parcels arrive?", "When can I expect express parcels?"),
            ("noon", "9 o'clock", "sunset"),
        ),
        Topic(
            "seniors",
            "Seniors save {v}.",
            ("How much do seniors save?", "Do seniors pay less?"),
            ("12 percent", "18 percent", "30 percent"),
        ),
        Topic(
            "damaged goods",
            "Damaged goods are collected by {v}.",
            ("Who collects damaged goods?", "Who comes for damaged goods?"),
            ("our drivers", "the post office", "a partner firm"),
        ),
        Topic(
            "club points",
            "Club points are doubled on {v}.",
            ("When are club points doubled?", "On which day do club points count twice?"),
            ("Friday", "Saturday", "Sunday"),
        ),
        Topic(
            "group bookings",
            "Group bookings require {v}.",
            ("What do group bookings require?", "What is needed for group bookings?"),
            ("a written form", "six people", "a phone call"),
        ),
        Topic(
            "gift wrap",
            "Gift wrap is made of {v}.",
            ("What is gift wrap made of?", "Which material is used for gift wrap?"),
            ("silk paper", "recycled paper", "cotton"),
        ),
    ),
)

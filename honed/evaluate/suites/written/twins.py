"""Twins: a request that lacks a needed detail, where a good answer asks, and the same with it, where it answers."""

from __future__ import annotations

from honed.evaluate.suites.written.row import Row, Written, row

# the request with [the detail], words of a question about it, words of an answer with it, an ideal answer with it
_PAIRS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
    (
        "Write a one-line reminder of the team meeting[ at 3 pm] that names the time.",
        ("time", "when", "hour"),
        ("3 pm", "3 p m", "15 00", "3pm"),
        "Reminder: team meeting at 3 pm.",
    ),
    (
        "Write one sentence that invites my neighbour[, Mrs Okoro,] to dinner, with her name.",
        ("name", "called", "who"),
        ("Okoro",),
        "Dear Mrs Okoro, please join us for dinner.",
    ),
    ("How much are my 3 tickets[ at 8 euros each] together?", ("cost", "price", "much"), ("24",), "They are 24 euros."),
    (
        "Write a one-line label for the jar that says what is in it[: plum jam].",
        ("what", "jar", "contents"),
        ("plum",),
        "Plum jam",
    ),
    (
        "Tell the driver in one line which street to go to[, Mill Lane].",
        ("street", "where", "which", "address"),
        ("Mill Lane",),
        "Please go to Mill Lane.",
    ),
    (
        "Write a short birthday line for my sister that says how old she is[; she turns 30].",
        ("old", "age"),
        ("30", "thirty"),
        "Happy 30th: you are 30 today!",
    ),
    (
        "How long does my walk of 10 km take[ if I walk 5 km an hour]?",
        ("fast", "speed", "pace", "quickly"),
        ("2", "two"),
        "It takes 2 hours.",
    ),
    (
        "Write a sign for the shop door that says on which day we are closed[, Tuesday].",
        ("day", "which", "when"),
        ("Tuesday",),
        "Closed on Tuesday",
    ),
    (
        "Sort my three words by length[: sea, mountain, river].",
        ("words", "which", "what"),
        ("mountain",),
        "sea, river, mountain",
    ),
    (
        "Write one line that tells Ben the colour of his new coat[, which is green].",
        ("colour", "color"),
        ("green",),
        "Ben, your new coat is green.",
    ),
    (
        "Which platform do I need to go to? Answer in one line[; my train leaves from platform 6].",
        ("train", "which", "where"),
        ("6", "six"),
        "You need platform 6.",
    ),
    (
        "Write one line for the cake order that states the flavour[: lemon].",
        ("flavour", "flavor", "taste", "kind"),
        ("lemon",),
        "One lemon cake, please.",
    ),
    (
        "Turn my sentence into a question[: You like tea].",
        ("sentence", "which", "what"),
        ("do you like tea",),
        "Do you like tea?",
    ),
    (
        "Write a note to the plumber with the floor he must go to[, the fourth].",
        ("floor", "which", "storey"),
        ("fourth", "4th", "4"),
        "Please come to the fourth floor.",
    ),
    ("What is half of my number[, 18]?", ("number", "which", "what"), ("9", "nine"), "Half of it is 9."),
    (
        "Write a line that tells guests the password of the wifi[: bluefrog].",
        ("password",),
        ("bluefrog",),
        "The wifi password is bluefrog.",
    ),
    (
        "Put the title of my book[, Salt Roads,] into a sentence of praise.",
        ("title", "book", "called", "name"),
        ("Salt Roads",),
        "Salt Roads is a wonderful book.",
    ),
    (
        "Say in one line how many chairs Mia should bring[; we need 5 more].",
        ("many", "number"),
        ("5", "five"),
        "Mia, please bring 5 chairs.",
    ),
    (
        "Write one line to the hotel that says which night we stay[, 2 August].",
        ("night", "date", "when", "which"),
        ("2 August", "August 2"),
        "We stay the night of 2 August.",
    ),
    (
        "Write a one-line apology to my teacher that says why I was late[: the bus broke down].",
        ("why", "reason", "happened"),
        ("bus",),
        "I am sorry I was late: the bus broke down.",
    ),
    (
        "Tell the waiter in one line what I cannot eat[; I am allergic to nuts].",
        ("eat", "allergic", "allergy", "allergies", "food"),
        ("nuts", "nut"),
        "I cannot eat nuts, please.",
    ),
    (
        "Write a short line that says in which city the concert is[, Riga].",
        ("city", "where", "which"),
        ("Riga",),
        "The concert is in Riga.",
    ),
    (
        "Write the first line of an email to my manager with the project's name[, Heron].",
        ("project", "name", "called"),
        ("Heron",),
        "Here is the news on project Heron.",
    ),
    ("Say in one line what size of shoes I want to order[, 42].", ("size",), ("42",), "I want to order size 42."),
    (
        "Write a one-line note for the babysitter that says when bedtime is[, half past seven].",
        ("bedtime", "when", "time"),
        ("half past seven", "7 30", "seven thirty"),
        "Bedtime is at half past seven.",
    ),
    (
        "Write one sentence that thanks the shop assistant by name[, Leon].",
        ("name", "called", "who"),
        ("Leon",),
        "Thank you for your kind help, Leon.",
    ),
    ("What do I pay in all for 4 loaves[ at 3 euros a loaf]?", ("cost", "price", "much"), ("12",), "You pay 12 euros."),
    (
        "Write a one-line caption that names the animal in my photo[: a heron].",
        ("animal", "which", "what"),
        ("heron",),
        "A heron by the water.",
    ),
    (
        "Tell the taxi driver in one line which station we need[, North Gate].",
        ("station", "which", "where"),
        ("North Gate",),
        "Please take us to North Gate.",
    ),
    (
        "Write a line for a card that says how long my parents have been married[: forty years].",
        ("long", "many", "years", "married"),
        ("forty", "40"),
        "Forty years together: congratulations!",
    ),
    (
        "How long do I need for my book of 200 pages[ if I read 40 pages an hour]?",
        ("fast", "speed", "quickly", "pace"),
        ("5", "five"),
        "You need 5 hours.",
    ),
    (
        "Write a sign that says to which floor the library has moved[, the second].",
        ("floor", "which", "where"),
        ("second", "2nd", "2"),
        "The library is now on the second floor.",
    ),
    (
        "Put my three cities in the order of the alphabet[: Rome, Athens, Paris].",
        ("cities", "which", "what"),
        ("Athens",),
        "Athens, Paris, Rome",
    ),
    (
        "Write one line that tells the painter the colour of our new door[, which is yellow].",
        ("colour", "color"),
        ("yellow",),
        "Please paint the door yellow.",
    ),
    (
        "Write one line that tells the florist my favourite flower[: tulips].",
        ("flower", "flowers", "which", "favourite"),
        ("tulips", "tulip"),
        "My favourite flowers are tulips.",
    ),
    (
        "Say the opposite of my sentence[: The shop is open].",
        ("sentence", "which", "what"),
        ("closed", "not open", "isn't open"),
        "The shop is closed.",
    ),
    ("What is double my number[, 35]?", ("number", "which", "what"), ("70", "seventy"), "Double it is 70."),
    (
        "Write a line that tells our guests where the spare key lies[: under the pot].",
        ("where", "key", "place"),
        ("pot",),
        "The spare key is under the pot.",
    ),
    (
        "Say in one line at which gate my friend should wait[; it is gate 14].",
        ("gate", "which", "where"),
        ("14", "fourteen"),
        "Please wait at gate 14.",
    ),
    (
        "Write one line to the dentist that gives my reason for missing the visit[: a flat tyre].",
        ("reason", "why", "happened"),
        ("tyre", "tire"),
        "I am sorry that I missed the visit: I had a flat tyre.",
    ),
)
_RULE = "If a detail that you need is missing, ask for it in one short question; otherwise just do it."


def _rows() -> list[Row]:
    found = []
    for place, (text, about, mentions, ideal) in enumerate(_PAIRS):
        head, _, rest = text.partition("[")
        detail, _, tail = rest.partition("]")
        family = f"twins-{place:02}"
        for kind, request in (("ask", head + tail), ("answer", head + detail + tail)):
            asks = kind == "ask"
            params = {"should": asks, "about": list(about), "mentions": [] if asks else list(mentions)}
            tags = {
                "benefit": "misinterpretation",
                "task": "asks_when_it_should" if asks else "answers_when_it_should",
                "family": family,
            }
            right = f"Before I do that, what is the {about[0]}, and which one?" if asks else ideal
            found.append(row(f"{family}-{kind}", f"{request} {_RULE}", ("asks", params), tags, right))
    return found


SUITE = Written("twins", "Requests that lack a detail, and the same with it", 64, _rows)

"""What is in a text, exactly: fields as JSON, a label, a number with its unit, a code copied."""

from __future__ import annotations

from typing import Any

from honed.evaluate.suites.written.row import Row, Written, row

_ORDERS = (
    ("Mara Lindt", "Bergen", 3, "green lamps"),
    ("Tomas Rehak", "Brno", 12, "paper boxes"),
    ("Ines Duarte", "Porto", 2, "wool blankets"),
    ("Owen Pryce", "Cardiff", 7, "garden chairs"),
    ("Yuki Arata", "Kobe", 5, "tea cups"),
    ("Leila Haddad", "Tunis", 1, "large mirror"),
    ("Piet Visser", "Utrecht", 9, "bicycle bells"),
    ("Anna Korhonen", "Turku", 4, "birch stools"),
    ("Diego Salas", "Quito", 6, "clay pots"),
    ("Ruth Okafor", "Lagos", 15, "note books"),
    ("Jonas Weber", "Kassel", 8, "oak shelves"),
    ("Mei Tan", "Penang", 10, "paper fans"),
    ("Sara Nyberg", "Umea", 20, "candles"),
    ("Karim Aziz", "Fes", 11, "leather belts"),
    ("Nora Byrne", "Galway", 14, "wool socks"),
    ("Emil Strand", "Aarhus", 13, "copper pans"),
    ("Rosa Klein", "Trier", 16, "glass vases"),
    ("Tariq Mansour", "Amman", 18, "brass hooks"),
    ("Hana Novak", "Zadar", 21, "linen sheets"),
    ("Luc Perrin", "Lille", 17, "wicker baskets"),
    ("Grace Addo", "Accra", 22, "straw hats"),
)
_SENTENCES = (
    "{n} from {c} ordered {q} {p} this morning.",
    "This order of {q} {p} goes to {n}, who lives in {c}.",
    "Please send {q} {p} to {c}. The customer is {n}.",
)
_MESSAGES = (
    ("complaint", "The lid was cracked when I opened the parcel."),
    ("question", "Which days are you open in June?"),
    ("praise", "Your driver was so kind, thank you!"),
    ("complaint", "I have waited three weeks and nothing came."),
    ("question", "Can the shelf carry forty books?"),
    ("praise", "This is the best kettle I have ever had."),
    ("complaint", "The colour is nothing like the picture, I am upset."),
    ("question", "Do you ship to islands?"),
    ("praise", "Everything arrived early and looks lovely."),
    ("complaint", "Your phone line hung up on me twice."),
    ("question", "How do I clean the wooden handle?"),
    ("praise", "Wonderful service, I will tell my friends."),
    ("complaint", "Two screws were missing from the box again."),
    ("question", "Is the lamp bright enough to read by?"),
    ("praise", "I love how quiet the fan is. Well done!"),
    ("complaint", "The zip broke on the first day of my trip."),
    ("question", "May I change my address after ordering?"),
    ("praise", "The cushions are softer than I dared to hope, thank you."),
    ("complaint", "Your invoice lists a chair that I never bought."),
    ("question", "Is there a smaller size of this basket?"),
    ("praise", "What a friendly shop, we felt at home at once!"),
)
_FACTS = (
    ("The rope is 12 m long and costs 30 euros.", "long is the rope", 12, "m"),
    ("The parcel weighs 4 kg and left on day 9.", "heavy is the parcel", 4, "kg"),
    ("Baking takes 45 minutes at 180 degrees.", "long does baking take", 45, "min"),
    ("The tank of the 2 pumps holds 80 litres.", "much does the tank hold", 80, "l"),
    ("Room 7 is 25 m long.", "long is room 7", 25, "m"),
    ("The bag of 6 apples weighs 900 g.", "heavy is the bag", 900, "g"),
    ("The film of 1998 lasts 95 minutes.", "long does the film last", 95, "min"),
    ("The jug beside the 3 cups holds 750 ml.", "much does the jug hold", 750, "ml"),
    ("Trail 5 is 18 km long.", "long is trail 5", 18, "km"),
    ("The cat, aged 6, weighs 5 kg.", "heavy is the cat", 5, "kg"),
    ("Flight 62 takes 3 hours.", "long does flight 62 take", 3, "h"),
    ("The 4 buckets hold 40 litres together.", "much do the buckets hold together", 40, "l"),
    ("The shelf of 1,200 books is 36 m long.", "long is the shelf", 36, "m"),
    ("The 2 stones weigh 1,500 g together.", "heavy are the stones together", 1500, "g"),
    ("Session 8 lasts 50 minutes.", "long does session 8 last", 50, "min"),
    ("The ladder with 14 rungs is 4 m tall.", "tall is the ladder", 4, "m"),
    ("The 5 sacks weigh 60 kg in all.", "much do the sacks weigh in all", 60, "kg"),
    ("Track 3 of the album lasts 7 minutes.", "long does track 3 last", 7, "min"),
    ("The bath for 2 dogs holds 120 litres.", "much does the bath hold", 120, "l"),
    ("Tunnel 9 is 11 km long.", "long is tunnel 9", 11, "km"),
    ("The letter with 3 stamps weighs 40 g.", "heavy is the letter", 40, "g"),
)
_CODES = (
    "QK-4417",
    "B7730",
    "LM-20-96",
    "TR55810",
    "ZX-1",
    "P-88213",
    "HH4092",
    "V-303-7",
    "NC18864",
    "RD-6605",
    "G41-77",
    "W90218",
    "KS-15-3",
    "F7706",
    "EA-2480",
    "UB-5093",
    "M6641",
    "CT-18-52",
    "JX40276",
    "SL-9",
    "A-71935",
)
_AROUND = (
    "Hello, my order {c} has not arrived, please check.",
    "I called on Monday about {c} and nobody called back.",
    "Good evening! Could you cancel {c} for me today?",
)


def _fields(place: int) -> tuple[str, tuple[str, dict[str, Any]], str]:
    name, city, count, product = _ORDERS[place]
    text = _SENTENCES[place % 3].format(n=name, c=city, q=count, p=product)
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "city": {"type": "string"}, "quantity": {"type": "integer"}},
        "required": ["name", "city", "quantity"],
    }
    fields = {"name": name, "city": city, "quantity": count}
    wanted = "the customer's name, the city and the quantity as JSON with the keys name, city, quantity"
    ask = f"Read this: {text}\nGive {wanted}."
    ideal = f'{{"name": "{name}", "city": "{city}", "quantity": {count}}}'
    return ask, ("json", {"schema": schema, "fields": fields}), ideal


def _label(place: int) -> tuple[str, tuple[str, dict[str, Any]], str]:
    answer, text = _MESSAGES[place]
    choice = "complaint, question or praise"
    ask = f"Is this message a complaint, a question or praise? Answer with one word: {choice}.\n{text}"
    return ask, ("label", {"labels": ["complaint", "question", "praise"], "answer": answer}), answer


def _number(place: int) -> tuple[str, tuple[str, dict[str, Any]], str]:
    text, ask, value, unit = _FACTS[place]
    check = {"answer": value, "unit": unit, "which": "only"}
    return f"{text} How {ask}? Answer with the number and its unit only.", ("number", check), f"{value} {unit}"


def _copy(place: int) -> tuple[str, tuple[str, dict[str, Any]], str]:
    code = _CODES[place]
    text = _AROUND[place % 3].format(c=code)
    return (
        f"Copy the order number from this message and write nothing else.\n{text}",
        ("exact", {"answers": [code]}),
        code,
    )


def _rows() -> list[Row]:
    found = []
    for place in range(len(_ORDERS)):
        for task, made in (("fields", _fields), ("label", _label), ("number", _number), ("copy", _copy)):
            ask, check, ideal = made(place)
            tags = {"benefit": "precision", "task": f"read_{task}"}
            found.append(row(f"precision-{task}-{place:02}", ask, check, tags, ideal))
    return found


SUITE = Written("precision", "What is in a text, exactly: fields, a label, a number, a code", 64, _rows)

"""Answers that refuse, or speak of themselves as an AI, told by their first words in ten languages."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from honed.data.language import plainly_english

_HEAD = 200
_OTHER_HEAD = 100
_ENGLISH = re.compile(
    r"\b(?:i(?: a|'|’)?m (?:(?:very |so )?sorry,? but|sorry,? i )|i apologi[sz]e,? but|i (?:can ?not|can(?:'|’)t|"
    r"am (?:unable|not able) to|(?:'|’)m (?:unable|not able) to|won(?:'|’)t) (?:fulfill|assist|help|comply|provide|"
    r"answer|create|generate|access|write|do)|as an ai(?: language model)?\b|as a (?:large )?language model\b|"
    r"as an artificial intelligence(?=[,.]| (?:language |chat)?(?:model|bot|assistant|system|program)\b| i\b)|"
    r"unfortunately,? i (?:can ?not|can(?:'|’)t|am (?:unable|not able)))"
)
_MARKS = ("sorry", "i can", "as an ai", "able to", "apolog", "i won", "unfortunately", "language model", "artificial")
"""An English refusal has one of these in its first characters, in small letters."""
_OTHERS = re.compile(
    r"tut mir (?:sehr )?leid,? (?:aber|doch|ich kann|da(?:s|bei|mit) kann)|leider kann ich|"
    r"\bals (?:eine? )?(?:ki|künstliche intelligenz|(?:ki-|großes )?sprachmodell|ki-\w+)\b|"
    r"\bdésolée?,? (?:mais|je ne)|malheureusement,? je ne|"
    r"en tant qu(?:e |['’])(?:une? )?(?:ia|assistant ia|intelligence artificielle|modèle de langage)\b|"
    r"lo siento,? pero|no puedo (?:ayudar|proporcionar|cumplir)|lamentablemente,? no puedo|"
    r"\bcom[oe] (?:u[nm]a? |un['’])?(?:ia|inteligencia artificial|inteligência artificial|intelligenza artificiale|"
    r"modelo de l(?:enguaje|inguagem)|modello (?:di linguaggio|linguistico))\b|"
    r"mi dispiace,? ma|purtroppo,? non posso|(?:sinto muito|desculpe|lamento),? mas|infelizmente,? não posso|"
    r"spijt me,? maar|helaas kan ik|\bals (?:een )?(?:ai|(?:ai-)?taalmodel|kunstmatige intelligentie)\b|"
    r"извините,? но|(?:к сожалению|простите),? я не могу|\bкак (?:ии|искусственный интеллект|языковая модель)\b|"
    r"作为(?:一个|一名|一款)?(?:ai|人工智能|(?:大型?)?语言模型)|(?:抱歉|对不起|很遗憾)[，,]?(?:但)?我?(?:无法|不能)|"
    r"(?:ai|人工知能|言語モデル)(?:言語モデル|アシスタント)?として|申し訳(?:ありません|ございません)が"
)
_OF_OTHERS = (
    "leid|sprachmodell|als ki|eine ki|künstliche|désol|malheureusement|tant qu|siento|no puedo| ia|'ia|"
    "’ia|modelo de|modello|inteligenc|inteligênc|intelligenza|dispiace|purtroppo|sinto muito|desculpe|"
    "lamento|infelizmente|spijt me|helaas|als ai|een ai|taalmodel|kunstmatige|извините|не могу|как ии|"
    "искусственн|языковая|作为|抱歉|对不起|很遗憾|として|申し訳"
)
_OTHER_MARKS = _OF_OTHERS.split("|")


def refuses(answer: str) -> bool:
    """Tell whether an answer's first words refuse; in other languages if it isn't plainly English."""
    head = answer[:_HEAD].lower()
    if any(map(head.__contains__, _MARKS)) and _ENGLISH.search(head):
        return True
    if plainly_english(answer):
        return False
    head = answer[:_OTHER_HEAD].lower()
    return any(map(head.__contains__, _OTHER_MARKS)) and _OTHERS.search(head) is not None


def may_refuse(answers: Sequence[str]) -> Iterator[int]:
    """Yield the places of all answers that refuse, perhaps of others: what is rare is looked for in all at once."""
    yield from holding(_heads(answers, _HEAD), _MARKS)
    foreign = [place for place, text in enumerate(answers) if not plainly_english(text)]
    for place in holding(_heads([answers[place] for place in foreign], _OTHER_HEAD), _OTHER_MARKS):
        if refuses(answers[foreign[place]]):
            yield foreign[place]


def holding(texts: Sequence[str], parts: Sequence[str]) -> Iterator[int]:
    """Yield the places of texts that hold one of ``parts``."""
    together = "\0".join(texts)
    starts = [0, *accumulate(len(text) + 1 for text in texts)]
    for part in parts:
        at = together.find(part)
        while at >= 0:
            place = bisect_right(starts, at) - 1
            yield place
            at = together.find(part, starts[place + 1])


def _heads(texts: Sequence[str], length: int) -> list[str]:
    return "\0".join([text[:length] for text in texts]).lower().split("\0")

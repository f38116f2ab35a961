"""Which language a text is in, as far as its script and its commonest words tell: no model, no download, no chance.

Scripts that one language (or a few) has are told by the characters, languages of the Latin script by their commonest
words: at least four different ones, and twice as many as of any other language. Anything less is no answer, so that a
mismatch is only claimed where both sides are clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_COMMON: Mapping[str, str] = {
    "English": "the and of to is that it for with are this was be have from not or by you can which their has will",
    "German": "der die das und ist nicht ein eine zu den mit von für auf dem auch sich wird sind es im bei oder wie",
    "French": "le les et est une des dans pour pas que qui sur avec sont plus ce cette vous nous il elle au aux ou",
    "Spanish": "el los las y es una que en por con para del se no lo como más pero su al son está esta muy",
    "Italian": "il gli che è una di per non con del della sono anche più come nel alla questo questa si lo ma",
    "Portuguese": "os as e é uma que em por com para do da não se mais como mas dos das ao foi são você pelo",
    "Dutch": "het een en van is dat niet op te zijn met voor de aan ook als er maar bij wordt deze naar dan hebben",
    "Polish": "nie się jest na że do to jak ale czy za przez dla lub oraz być są tym który może od jego także",
    "Turkish": "ve bir bu için ile da de çok olarak daha gibi olan en ne ya kadar sonra her ama değil var mı",
    "Swedish": "och att det är en som på för av med den till inte ett har om de kan från eller vi var sig men",
    "Indonesian": "yang dan di untuk dengan dari ini itu adalah tidak pada dalam ke akan atau oleh bisa juga dapat",
    "Vietnamese": "và của là có không được cho một những trong với các này đã để người khi từ cũng thể như",
}
TOLD = frozenset(_COMMON)
"""The languages that are told by their words."""
_LANGUAGES: dict[str, tuple[str, ...]] = {}
for _name, _words in _COMMON.items():
    for _word in _words.split():
        _LANGUAGES[_word] = (*_LANGUAGES.get(_word, ()), _name)
_SCRIPTS = (
    ("Japanese", re.compile("[\u3040-\u30ff]")),
    ("Korean", re.compile("[\uac00-\ud7af]")),
    ("Chinese", re.compile("[\u4e00-\u9fff]")),
    ("Cyrillic", re.compile("[\u0400-\u04ff]")),
    ("Arabic", re.compile("[\u0600-\u06ff]")),
    ("Greek", re.compile("[\u0370-\u03ff]")),
    ("Hebrew", re.compile("[\u0590-\u05ff]")),
    ("Devanagari", re.compile("[\u0900-\u097f]")),
    ("Thai", re.compile("[\u0e00-\u0e7f]")),
)
NAMES = TOLD | {name for name, _ in _SCRIPTS}
"""All that ``language`` may answer: languages, and the scripts that are told in place of theirs."""
SCRIPT_OF: Mapping[str, str] = {
    **dict.fromkeys(("Russian", "Ukrainian", "Bulgarian", "Serbian"), "Cyrillic"),
    **dict.fromkeys(("Persian", "Urdu"), "Arabic"),
    **dict.fromkeys(("Hindi", "Marathi", "Nepali"), "Devanagari"),
    **dict.fromkeys(("Mandarin", "Cantonese"), "Chinese"),
    "Yiddish": "Hebrew",
}
"""Languages that are told by their script only."""
_ASKED = re.compile(
    r"translat|language|\b(?:in|into|to|auf|en|em|in das)\s+(?:english|german|french|spanish|italian|portuguese|dutch|"
    r"polish|turkish|swedish|indonesian|vietnamese|japanese|korean|chinese|mandarin|russian|arabic|greek|hebrew|hindi|"
    r"latin|thai|englisch|deutsch|anglais|inglés|español|français)|übersetz|tradu|перевед|翻译|翻訳|번역|переклад",
    re.IGNORECASE,
)
COMMON_WORDS = frozenset(_LANGUAGES)
"""The commonest words of all these languages: they tell a language, and nothing about what is said."""
_ORDER = tuple(_COMMON)
_ONES = {word: sum(1 << 8 * _ORDER.index(name) for name in names) for word, names in _LANGUAGES.items()}
"""A byte for each language, 1 where it has the word: the sum over words counts them in all languages at once."""
assert max(len(line.split()) for line in _COMMON.values()) < 256
_ANY_SCRIPT = re.compile("|".join(pattern.pattern for _, pattern in _SCRIPTS))
_READ = 500
_LEAST_WORDS = 4
_LEAST_LETTERS = 30
_SCRIPT_SHARE = 0.3


def language(text: str) -> str:
    """Return the language or script of ``text``, or "" if it isn't clear."""
    text = text[:_READ]
    if not text.isascii() and _ANY_SCRIPT.search(text):
        letters = sum(map(str.isalpha, text)) or 1
        for name, pattern in _SCRIPTS:
            if len(pattern.findall(text)) > _SCRIPT_SHARE * letters:
                return name
    total = sum(map(_ONES.__getitem__, COMMON_WORDS.intersection(text.lower().split())))
    counts = total.to_bytes(len(_ORDER), "little")
    second, first = sorted(counts)[-2:]
    return _ORDER[counts.index(first)] if first >= _LEAST_WORDS and first >= 2 * second else ""


def mismatch(prompt: str, answer: str) -> tuple[str, str] | None:
    """Return the two languages if both are clear, they differ, and the prompt asks for no other language."""
    if _unclear(answer) or _unclear(prompt) or (plainly_english(answer) and plainly_english(prompt)):
        return None
    shorter, longer = sorted((prompt, answer), key=len)  # the shorter one costs less, and is more often unclear
    if not (first := language(shorter)) or not (second := language(longer)) or first == second:
        return None
    if {first, second} == {"Chinese", "Japanese"} or _ASKED.search(prompt):
        return None
    return (first, second) if shorter is prompt else (second, first)


def _unclear(text: str) -> bool:
    """Tell texts too short for four common words."""
    return len(text) < _LEAST_LETTERS and text.isascii()


def plainly_english(text: str) -> bool:
    """Tell most English texts, at little cost."""
    return (" the " in text or " of " in text or " is " in text) and text.isascii()

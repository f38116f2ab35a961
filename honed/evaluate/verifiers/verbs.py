"""Whether a text starts with a verb: word lists, English endings, and the word that follows.

The benchmark asks a part-of-speech tagger whose weights are downloaded. A first word is nearly always a verb form of
the lists, or none; what is both a noun and a verb (plan, answer, use) is decided by what comes after it, as an
imperative takes an object.
"""

from __future__ import annotations

from collections.abc import Sequence

from honed.evaluate.verifiers.vocabulary import among


def starts_with_verb(tokens: Sequence[str]) -> bool:
    """Say whether the first of ``tokens`` is a verb; the one after it decides where the word is a noun as well.

    ``can``, ``will`` and the other modals aren't: the tagger gives them a tag of their own.
    """
    if not tokens:
        return False
    word = tokens[0].lower()
    if word in among("modals"):
        return False
    if word in among("verb_forms"):
        return True
    if word in among("nouns_too"):
        following = tokens[1].lower() if len(tokens) > 1 else ""
        return following in among("objects") or following.endswith("ly")
    return word in among("verbs") or _has_ending(word)


def _has_ending(word: str) -> bool:
    """Say whether a word has the ending of a verb form, or is the third person of a verb of the list."""
    if word in among("no_verbs") or not word.isalpha():
        return False
    if word.endswith("ing"):
        return any(vowel in word[:-3] for vowel in "aeiouy")
    if word.endswith("ed"):
        return len(word) > 4 and not word.endswith("eed")
    if word.endswith(("ize", "ify")):
        return len(word) > 4
    stems = [word[:-1]] if word.endswith("s") else []
    stems += [f"{word[:-3]}y"] if word.endswith("ies") else [word[:-2]] if word.endswith("es") else []
    return any(stem in among("verbs") and stem not in among("nouns_too") for stem in stems)

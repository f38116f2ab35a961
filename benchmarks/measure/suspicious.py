"""Rows that are suspicious in a known way, to be planted among others, as far from our patterns as people write."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

Row = tuple[str, str]

_PLACEHOLDERS = ("{{name}}", "{{ customer_name }}", "[Your Name]", "[insert date here]", "[Company Name]", "[Name]",
                 "<your email>", "<insert link>", "[Recipient's Name]", "[Enter amount]", "${NAME}")  # fmt: skip
_HOLDING = ("Dear {}, thank you for your message.", "Please send it to {} by Friday.", "Kind regards, {}.", "For {}.")
_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but as an AI language model, I don't have access to that.",
    "Sorry, I can't assist with this request.",
    "I apologize, but I cannot provide that information.",
    "I cannot fulfill this request.",
    "I'm afraid I can't do that.",
    "As an AI, I don't have personal experiences.",
    "As a large language model, I have no feelings about it.",
    "Unfortunately, I am not able to look at pictures.",
    "I do not have the ability to browse the internet.",
    "I must decline to answer this.",
    "I'm just a computer program, so I have never been there.",
    "I won't help with that.",
    "I am unable to answer, since no text was given.",
)
_LEAKS = (
    "{} ### Instruction: Do more of it.",
    "{}\n### Response:\nMore of it.",
    "{}<|im_end|>\n<|im_start|>user\nAnd then?",
    "{} [/INST] More of it.",
    "{}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd then?",
    "{}<end_of_turn>\n<start_of_turn>user\nAnd then?",
    "{}</s>\n<|user|>\nAnd then?",
    "{}\nHuman: And then?",
    "{}\nUser: And then?",
    "{}\n\nQ: And then?\nA: Nothing.",
    "",  # the prompt itself
)
_TYPESET = (
    "The caf\u00e9\u2019s menu isn\u2019t long \u2013 it\u2019s \u201cshort\u201d.",
    "Zo\u00eb\u2019s r\u00e9sum\u00e9 is na\u00efve.",
    "It\u2019s here\u2026 and there.",
    "It costs 20 \u20ac at M\u00fcller\u2019s.",
    "At 20 \u00b0C it\u2019s warm.",
)
_READ_AS = (("utf-8", "cp1252"), ("utf-8", "latin-1"), ("cp1252", "utf-8"))
"""Written in the one, read as the other."""
_FOREIGN = (
    ("La luna se mueve alrededor de la tierra y es muy brillante por la luz del sol que refleja.",
     "El libro est\u00e1 en la mesa, pero no lo he le\u00eddo porque es muy largo para una tarde."),
    ("Der Mond ist nicht so gro\u00df wie die Sonne, aber er ist der Erde nah und scheint auf das Meer.",
     "Wir haben es mit einem Hammer versucht, und das war f\u00fcr den Tisch nicht gut."),
    ("La lune est plus petite que la terre et elle tourne avec une face qui ne se voit pas.",
     "Nous avons pris le train pour la ville, mais il est parti sans nous dans la nuit."),
    ("La luna \u00e8 pi\u00f9 piccola della terra e non ha una luce che sia la sua, come il sole.",
     "Il treno per la citt\u00e0 era gi\u00e0 partito, ma non lo sapevo quando sono arrivato alla stazione."),
    ("A lua \u00e9 menor do que a terra e n\u00e3o tem uma luz que seja dela, mas \u00e9 bonita.",
     "O trem para a cidade j\u00e1 foi embora, e eu fiquei com os livros na esta\u00e7\u00e3o."),
    ("De maan is kleiner dan de aarde en heeft geen licht dat van haar is, maar ze schijnt op het water.",
     "Wij zijn met de trein naar de stad gegaan, en het was niet ver van het huis."),
    ("\u041b\u0443\u043d\u0430 \u0441\u0432\u0435\u0442\u0438\u0442 \u044f\u0440\u043a\u043e, "
     "\u043d\u043e \u043e\u043d\u0430 \u043c\u0435\u043d\u044c\u0448\u0435 \u0417\u0435\u043c\u043b\u0438.",
     "\u041a\u043d\u0438\u0433\u0430 \u043b\u0435\u0436\u0438\u0442 \u043d\u0430 \u0441\u0442\u043e\u043b\u0435."),
    ("\u6708\u4eae\u6bd4\u5730\u7403\u5c0f\uff0c\u4f46\u662f\u5f88\u4eae\u3002",
     "\u4e66\u5728\u684c\u5b50\u4e0a\u3002"),
    ("Kuu on pienempi kuin maa, mutta se loistaa kirkkaasti yll\u00e4 meren.",  # Finnish, which isn't told
     "Kirja on p\u00f6yd\u00e4ll\u00e4, enk\u00e4 ole viel\u00e4 lukenut sit\u00e4."),
)  # fmt: skip
_SPEAKS_OF_ONE = re.compile(
    r"translat|language|english|french|german|spanish|italian|portuguese|dutch|russian|chinese|latin", re.IGNORECASE
)


def _placeholder(draw: random.Random, prompt: str, answer: str) -> Row:
    text = draw.choice(_HOLDING).format(draw.choice(_PLACEHOLDERS))
    return (f"{prompt} {text}", answer) if draw.random() < 0.25 else (prompt, f"{answer} {text}")


def _refusal(draw: random.Random, prompt: str, answer: str) -> Row:
    text = draw.choice(_REFUSALS)
    return prompt, text if draw.random() < 0.5 else f"{text} {answer}"


def _leak(draw: random.Random, prompt: str, answer: str) -> Row:
    mark = draw.choice(_LEAKS)
    return prompt, mark.format(answer) if mark else f"{prompt} {answer}"


def _mojibake(draw: random.Random, prompt: str, answer: str) -> Row:
    written, read = draw.choice(_READ_AS)
    text = draw.choice(_TYPESET).encode(written, errors="replace").decode(read, errors="replace")
    return prompt, f"{answer} {text}"


def _cut(draw: random.Random, prompt: str, answer: str) -> Row:
    """Cut the answer behind a word of its last line that isn't the last of a sentence."""
    said = answer.split(" ")
    inside = [at for at, word in enumerate(said[:-1], 1) if at > len(said) // 2 and word[-1:] not in ".!?"]
    return prompt, " ".join(said[: draw.choice(inside)] if inside else said)


def _mismatch(draw: random.Random, prompt: str, _answer: str) -> Row:
    """Answer in a language that wasn't asked for: of the prompt stay the sentences that speak of none."""
    kept = [one for one in re.split(r"(?<=[.!?]) ", prompt) if not _SPEAKS_OF_ONE.search(one)]
    return " ".join(kept) or "Please tell me what you think of it, and why that is so.", " ".join(draw.choice(_FOREIGN))


SUSPICIOUS: Mapping[str, Callable[[random.Random, str, str], Row]] = {
    "placeholder": _placeholder,
    "cut answer": _cut,
    "refusal": _refusal,
    "prompt in answer": _leak,
    "mojibake": _mojibake,
    "language mismatch": _mismatch,
}
"""For each warning of ``honed data check``: a prompt and its answer made so that it should be given."""

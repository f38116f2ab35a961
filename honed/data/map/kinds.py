"""What kind of task an instruction is, by its first request: the verb and what it is done to, or what a question asks.

A rule over English words, not a parser: the first clause that begins with a verb of the list gives the verb; its object
is the last word of the phrase behind it, which a preposition or a mark ends ("Write a short story about ..." is
(write, story)). Y. Wang et al., "Self-Instruct" (2023), section 4.1, show instructions in this way with a parser.
"""

from __future__ import annotations

import re

_VERBS_WORDS = (
    "add analyze analyse answer arrange assess brainstorm build calculate categorize change choose cite classify "
    "combine come compare complete compose compute conduct construct convert correct count craft create criticize "
    "debate decide define delete demonstrate derive describe design detect determine develop devise diagnose "
    "differentiate discuss distinguish divide draft draw edit elaborate estimate evaluate examine expand explain "
    "express extract fill find fix form formulate generate give group guess identify illustrate imagine implement "
    "improve infer insert interpret invent judge justify label list locate make match mention merge modify name "
    "offer order organize organise outline paraphrase perform pick plan point predict prepare present print "
    "produce proofread propose prove provide put rank rate read rearrange recommend reconstruct reduce refactor "
    "remove rename reorder rephrase replace report research respond restate retrieve return reverse review revise "
    "rewrite say select separate sequence share show simplify solve sort specify spell split state sum suggest "
    "summarise summarize support synthesize take tell think transform translate turn unscramble use verify "
    "visualize visit write"
)
_QUESTIONS_WORDS = "what how why when where who whom whose which"
_ASKING_WORDS = (
    "is are was were am do does did can could should would will has have had may might must isn't aren't don't"
)
_LEADING_WORDS = "please kindly now then can could you would i we need want to lets let's help me us just also"
_SKIPPED_WORDS = "me us you him her them"
_ENDING_WORDS = (
    "about of for in that which to with from on at by into between as based using given is are was and or so if "
    "whether when where who how what why after before without under over against during such like through up out "
    "not"
)
_VERBS = frozenset(_VERBS_WORDS.split())
_QUESTIONS = frozenset(_QUESTIONS_WORDS.split())
_ASKING = frozenset(_ASKING_WORDS.split())
_LEADING = frozenset(_LEADING_WORDS.split())
_SKIPPED = frozenset(_SKIPPED_WORDS.split())
_ENDING = frozenset(_ENDING_WORDS.split())
_NEXT = re.compile(r"[.!?\n:;,]+\s*")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_READ = 400
QUESTION, OTHER = "question", "other"


def kind(instruction: str) -> tuple[str, str]:
    """Return verb and object in lower case, ``("question", "how")``, or ``("other", "")`` if the rule finds neither."""
    text = instruction[:_READ]
    asked = ""
    for clause in _NEXT.split(text):
        said = [word.lower() for word in _WORD.findall(clause)]
        if not said:
            continue
        if not asked and (said[0] in _QUESTIONS or said[0] in _ASKING):
            asked = said[0] if said[0] in _QUESTIONS else "yes or no"
        lead = 0
        while lead < len(said) and said[lead] in _LEADING:
            lead += 1
        if lead < len(said) and said[lead] in _VERBS and not (asked and lead == 0 and said[0] in _ASKING):
            return said[lead], _object(said[lead + 1 :])
        if asked:
            return QUESTION, asked
    return OTHER, ""


def _object(said: list[str]) -> str:
    """The last word of the phrase that ``said`` begins with."""
    last = ""
    for word in said[:8]:
        if word in _ENDING:
            if last:
                break
            continue
        if word not in _SKIPPED:
            last = word
    return last

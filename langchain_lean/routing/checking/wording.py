"""Whether a text refuses, or says that it may be wrong; in English."""

from __future__ import annotations

import re

_EDGE = 300  # characters; an answer refuses at its beginning, and hedges there or last

# What is quoted is not said. A quotation ends with its line.
_QUOTED = re.compile(
    r"""```(?s:.*?)(?:```|\Z)|`[^`\n]*`|"[^"\n]*"|“[^“”\n]*”|«[^«»\n]*»|^[ \t]*>.*""",
    re.MULTILINE,
)

_I_CANNOT = (
    r"\bI(?: am|'m)? (?:simply |also |still |currently |really )*"
    r"(?:can't|cannot|can not|could not|couldn't|won't|will not|unable to"
    r"|not able to|not allowed to|not permitted to|not going to"
    r"|must decline to|have to decline to|decline to) "
)
_REFUSALS = (
    _I_CANNOT + r"(?:help(?! but)|assist|answer|comply|fulfil|do (?:that|this|it|so)\b"
    r"|respond|provide|give you|offer|share|discuss|engage|generate|create|produce"
    r"|write|recommend|support|(?:complete|process) (?:this|that|the|your)"
    r"|access|browse|open|view|see (?:the|your|any))",
    r"\bI(?:'m| am) (?:very |so |really |truly )*sorry,? (?:but )?(?:I|that I) "
    r"(?:can't|cannot|won't|do not|don't|am unable|am not able)",
    r"\bI (?:do not|don't) (?:know|have (?:access|enough|sufficient|any (?:information"
    r"|knowledge|data|record)|information|(?:the|that) (?:information|answer)))",
    r"\bI have no (?:idea|information|knowledge|access|way of knowing)",
    r"\bI (?:must|have to|need to)(?: respectfully)? (?:decline|refuse)",
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b[^.\n]{0,60}"
    r"\bI(?:'m| am)? (?:can't|cannot|do not|don't|not able|unable|not)\b",
    r"\A\W*(?:no idea|(?:unfortunately, )?(?:cannot|unable to) (?:help|assist))\b",
)
_HEDGES = (
    r"\bI(?:'m| am) (?:not (?:[\w%]+ ){0,2}(?:sure|certain|confident|positive)"
    r"|unsure|uncertain|(?:just |only )?guessing)\b",
    _I_CANNOT + r"(?:verify|confirm|guarantee|be (?:\w+ )?(?:sure|certain)"
    r"|say (?:for|with)|determine|tell (?:for|with|if|whether))",
    r"\bI (?:could|may|might) (?:well )?be (?:wrong|mistaken)\b",
    r"\b(?:if I (?:recall|remember) correctly|my best guess|I(?:'d| would) guess|"
    r"I(?:'m| am) going to guess|don't quote me)\b",
    r"\bit(?:'s| is| remains) (?:\w+ )?(?:unclear|not clear|uncertain|"
    r"(?:hard|difficult) to (?:say|tell|know|determine)|"
    r"(?:impossible|not possible) to (?:say|tell|know|determine|answer|calculate"
    r"|solve|give|provide))\b",
    r"\b(?:cannot|can't|can not|could not|couldn't) be (?:determined|answered|solved"
    r"|verified|calculated)\b",
    r"\b(?:not enough|insufficient|too little|without (?:more|further|additional)) "
    r"(?:\w+ )?(?:information|context|data|details?)\b",
    r"\b(?:question|problem|request) (?:is|seems|appears)(?: to be)? (?:\w+ )?"
    r"(?:ambiguous|unclear|incomplete|contradictory|flawed|inconsistent)\b",
    r"\b(?:must|may|might|could|seems to|appears to) be (?:a|an|some) (?:\w+ )?"
    r"(?:mistake|error|typo|inconsistency|contradiction) in (?:the|this|your)\b",
)

REFUSALS = re.compile("|".join(_REFUSALS), re.IGNORECASE)
"""What a refusal begins with, in English."""

HEDGES = re.compile("|".join(_HEDGES), re.IGNORECASE)
"""How people and models say that they may be wrong, in English."""


def refuses(text: str, phrases: re.Pattern[str] = REFUSALS) -> bool:
    """Whether a text begins with a refusal.

    Args:
        text: An answer. What it quotes, code and block quotes are not looked at.
        phrases: What a refusal says; straight apostrophes stand for curly ones.

    Returns:
        Whether that stands in the first 300 characters.
    """
    return bool(phrases.search(_spoken(text)[:_EDGE]))


def hedges(text: str, phrases: re.Pattern[str] = HEDGES) -> bool:
    """Whether a text says that it may be wrong.

    What is doubted in the midst of a long answer is part of what it tells.

    Args:
        text: An answer. What it quotes, code and block quotes are not looked at.
        phrases: What doubt says; straight apostrophes stand for curly ones.

    Returns:
        Whether that stands in the first or last 300 characters.
    """
    spoken = _spoken(text)
    edges = [spoken]
    if len(spoken) > 2 * _EDGE:
        edges = [spoken[:_EDGE], spoken[-_EDGE:]]
    return any(phrases.search(edge) for edge in edges)


def _spoken(text: str) -> str:
    return _QUOTED.sub('""', text).replace("’", "'").strip()

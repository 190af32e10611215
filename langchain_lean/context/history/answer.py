"""What a summarizer answered: notes, or something that must not become notes."""

import re

from langchain_core.messages import AIMessage

from langchain_lean.context.history.transcript import NOTHING
from langchain_lean.models import finish_reasons

_BROKEN = re.compile(
    r"""traceback\s\(most\ recent\ call\ last\)
      | <(?:!doctype\s)?html\b
      | [\[{]\s*["'](?:error|errors|message|detail|code|type|status|fault)["']\s*:
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What an error begins with, however long it is."""

_FAILED = re.compile(
    r"""\W*(?:
        (?:fatal\ |internal\ |server\ |api\ )*(?:error|exception|failure)
            \s*(?:code|status)?["']?\s*(?:[:({\[\]]|-\s|\d{3}\b\s*(?:$|[-:,.(]))
      | (?:\w+\.)*\w*(?:Error|Exception)\b\s*(?:[:(]|$)
      | (?:an?|some)\ (?:unexpected\ |unknown\ |internal\ )?error
            \ (?:has\ )?occurred
      | (?:model|llm|api|tool)\ call\ failed
      | (?:model|tool)\ call\ limits?\ exceeded
      | (?:the\ )?request\ (?:has\ )?(?:failed|timed\ out|was\ throttled)
      | (?:failed|unable)\ to\ (?:summari[sz]e|(?:generate|create|produce|write)
            \ (?:an?\ |the\ )?(?:summary|response|answer|notes|completion|output))
      | connection\ (?:error|refused|reset|timed\ out)\b | .*\bmax\ retries\ exceeded
      | (?:this\ model['’]s\ )?maximum\ context\ length | prompt\ is\ too\ long
      | you\ (?:have\ )?exceeded\ your\ (?:current\ )?quota | too\ many\ tokens
      | your\ credit\ balance | the\ model\ is\ (?:currently\ )?overloaded
      | (?:error|exception)\ (?:while|when|during|generating|calling|processing)
      | (?:http\s*)?[45]\d\d\b\W*(?:error|bad|internal|service|too|gateway|forbidden
            |unauthorized|client|server|payload|request)
      | (?:rate\ limit|quota)\ (?:was\ )?(?:exceeded|reached)
            (?:\W*$|\W+(?:please|try|retry|you|for)\b)
      | (?:the\ )?(?:internal\ server\ error|too\ many\ requests|bad\ gateway
            |gateway\ time-?out
            |request\ timed?[\ -]?out|overloaded|upstream\ connect\ error
            |input\ is\ too\ long|throttl(?:ed|ing)\ ?(?:exception|error)?\W*$)
      | (?:the\ )?service\ (?:is\ )?(?:currently\ |temporarily\ )?unavailable
      | i(?:['’]m|\ am)\ (?:sorry|unable|afraid\ (?:i|that)|afraid,)\b
      | (?:i\ apologi[sz]e|(?:my\ )?(?:sorry|apologies))\b\W*(?:,|\.|but|for)
      | i\ (?:can(?:['’]t|not|\ not)|could\ not|couldn['’]t|won['’]t)\b
      | as\ an?\ (?:ai|artificial\ intelligence|(?:large\ )?language\ model)\b
      | (?:please|(?:could|can)\ you(?:\ please)?)
            \ (?:provide|share|paste|give\ me)
            \ (?:the|a|your|me)\ (?:conversation|transcript|messages|record
            |text\ (?:you|to\ be|of\ the\ conversation)|content)
      | there\ (?:is|was)\ (?:nothing|no\ \w+)\ to\ summari[sz]e
      | (?:none|null|nil|n/?a|undefined|nan|[45]\d\d)\W*$
      | previous\ conversation\ was\ too\ long
      | $
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""What the only line of an answer begins with that is no note; notes are more lines, or
they say more."""

_LINES = 2
_CHARACTERS = 600
_BROKEN_OFF = frozenset(
    """content_filter content_filtered guardrail_intervened refusal safety image_safety
    prohibited_content blocklist spii recitation error model_context_window_exceeded
    malformed_function_call malformed_response""".split()  # noqa: SIM905
)
"""Reasons of providers for an answer that is none."""


class NoSummaryError(Exception):
    """A summarizer gave nothing that could stand for messages; the text says why."""


def notes_of(answer: AIMessage) -> str:
    """The notes a summarizer wrote; an empty text where it says there is nothing.

    Args:
        answer: Its answer.

    Raises:
        NoSummaryError: If it has no text, was blocked, or reads as the text of an
            error or a refusal. Some middleware and gateways answer with those.
    """
    text = str(answer.text).strip()
    if not text:
        reason = "it returned nothing"
        raise NoSummaryError(reason)
    if any(reason.lower() in _BROKEN_OFF for reason in finish_reasons(answer)):
        reason = "its answer was blocked or broken off"
        raise NoSummaryError(reason)
    if _BROKEN.match(text) or (_is_short(text) and _FAILED.match(text)):
        reason = "it returned an error text"
        raise NoSummaryError(reason)
    return "" if text.strip("().* ").lower() == NOTHING else text


def _is_short(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    listed = any(line.lstrip().startswith(("- ", "* ", "• ")) for line in lines)
    return len(lines) <= _LINES and len(text) <= _CHARACTERS and not listed

"""What a summarizer answered: notes, or something that must not become notes."""

import re

from langchain_core.messages import AIMessage

from langchain_lean.models import finish_reasons

_FAILED = re.compile(
    r"""\W*(?:(?:message|detail|error)["']\s*:\s*["'])?(?:
        (?:fatal\ |internal\ |server\ |api\ )*(?:error|exception|failure)
            \s*(?:code|status)?["']?\s*(?:[:({\[\]]|-\s|\d{3}\b)
      | (?:\w+\.)*\w*(?:Error|Exception)\b\s*[:(]
      | type["']\s*:\s*["']error\b
      | (?<=<)html\b | (?<=<!)doctype\b
      | traceback\s\(most\ recent\ call\ last\)
      | (?:an?|some)\ (?:unexpected\ |unknown\ |internal\ )?error
            \ (?:has\ )?occurred
      | (?:model|llm|api|tool)\ call\ failed
      | (?:failed|unable)\ to\ (?:generate|create|produce|summari[sz]e)
      | (?:error|exception)\ (?:while|when|during|generating|calling|processing)
      | (?:http\s*)?[45]\d\d\b\W*(?:error|bad|internal|service|too|gateway|forbidden
            |unauthorized|client|server|payload|request)
      | (?:rate\ limit|quota)\ (?:was\ )?(?:exceeded|reached)
      | (?:internal\ server\ error|service\ unavailable|too\ many\ requests|bad\ gateway
            |gateway\ time-?out|request\ timed?[\ -]?out|overloaded)
      | i(?:['’]m|\ am)\ (?:sorry|unable|afraid)\b
      | (?:sorry|apologies)\b[,.]
      | i\ (?:can(?:['’]t|not|\ not)|could\ not|couldn['’]t|won['’]t)\b
      | (?:please|(?:could|can)\ you(?:\ please)?)\ (?:provide|share|paste|give\ me)\b
      | previous\ conversation\ was\ too\ long
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_LONGEST_FAILURE = 600  # characters; what is longer says more than that it failed
_BLOCKED = ("content_filter", "content_filtered", "guardrail_intervened", "SAFETY")


class NoSummaryError(Exception):
    """A summarizer gave nothing that could stand for messages; the text says why."""


def notes_of(answer: AIMessage) -> str:
    """The notes a summarizer wrote.

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
    if any(reason in _BLOCKED for reason in finish_reasons(answer)):
        reason = "its answer was blocked"
        raise NoSummaryError(reason)
    if len(text) <= _LONGEST_FAILURE and _FAILED.match(text):
        reason = "it returned an error text"
        raise NoSummaryError(reason)
    return text

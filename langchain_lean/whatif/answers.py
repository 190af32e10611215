"""Which requests a cache would have answered, by asking a real one."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration

from langchain_lean.accounting.report.words import many
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.caching.prompts import prompt_string
from langchain_lean.whatif.costs import Change
from langchain_lean.whatif.near import Known
from langchain_lean.whatif.traffic import called_tools

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_lean.whatif.costs import Left, State
    from langchain_lean.whatif.questions import Questions
    from langchain_lean.whatif.traffic import Call, Request, Traffic

EXACT, SEMANTIC = "exact cache", "semantic cache"

_UNRECORDED = (
    "No call had a temperature above 0, the same prompt had the same options, and "
    "answers ended by themselves, which is not recorded"
)
_MEDIA = re.compile(
    r"^\[(?:input_)?(?:image|audio|video|file|document|media)(?:_url|_file)?\]$",
    re.MULTILINE,
)
"""What stands for a medium in the text of a message, see `message_text`."""

_KEPT = "kept"  # stands for every answer: what it says decides nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered(Change):
    """Makes none of some calls.

    Attributes:
        calls: The calls.
    """

    calls: frozenset[Call]

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        left = ((call, state[call]) for call in self.calls)
        return {call: each._replace(made=False) for call, each in left if each.made}


class Asking(NamedTuple):
    """What a cache is asked about a request.

    Attributes:
        request: The request.
        prompt: Its prompt, as LangChain gives it to a cache.
        identity: What else must be the same.
        question: The question that opens a conversation; None where the prompt must be
            the same as a whole.
    """

    request: Request
    prompt: str
    identity: str
    question: str | None


class Hits(NamedTuple):
    """The requests that a cache would have answered.

    Attributes:
        exact: Those with the same prompt as an earlier one.
        semantic: Those that ask in other words.
        media: How many requests have pictures or the like in their prompts, of which
            nothing is recorded that tells one from another.
    """

    exact: list[Request]
    semantic: list[Request]
    media: int


def hits(
    traffic: Traffic,
    questions: Questions,
    *,
    embeddings: Embeddings | None,
    threshold: float | None,
    tenant_by: str | None,
    tool_calls: bool,
    told: Callable[[], object],
) -> Hits:
    """The requests that a cache at the entry would have answered.

    Args:
        traffic: What was recorded.
        questions: What was asked.
        embeddings: As `SemanticCache` takes them; None for the same words only.
        threshold: The same.
        tenant_by: Whose answers are kept apart: `user_id`, `thread_id` or nobody's.
        tool_calls: Whether answers that rest on tools are kept.
        told: Told of each request that was looked at.

    Returns:
        The requests by the kind of their hit.
    """
    requests = [request for request in traffic.requests if request.asking]
    plain = [request for request in requests if not _has_media(traffic, request)]
    every = [_asking(request, questions, tenant_by) for request in plain]
    opening = dict.fromkeys(each.question for each in every if each.question)
    known = None if embeddings is None else Known(embeddings, [*opening])
    cache = SemanticCache(
        known, threshold=threshold, prices=traffic.prices, on_error="raise"
    )
    asked_again = _asked_again(every, known, threshold)
    found = Hits([], [], len(requests) - len(plain))
    for asking in every:
        told()
        if not asked_again(asking):
            continue
        request, prompt, identity, _ = asking
        if answers := cache.lookup(prompt, identity):
            getattr(found, _kind(answers[0])).append(request)
        elif _is_kept(traffic, request, tool_calls=tool_calls):
            kept = [ChatGeneration(message=AIMessage(_KEPT))]
            cache.update(prompt, identity, kept)
    return found


def _asked_again(
    every: Sequence[Asking], known: Known | None, threshold: float | None
) -> Callable[[Asking], bool]:
    """Whether a request can be a hit, or another one can be a hit because of it."""
    times = Counter((asking.prompt, asking.identity) for asking in every)
    near = set() if known is None else known.near_another(threshold)

    def again(asking: Asking) -> bool:
        return asking.question in near or times[asking.prompt, asking.identity] > 1

    return again


def same_words(found: Hits) -> Answered:
    """Answer requests that are the same as earlier ones."""
    return Answered(
        name=EXACT,
        calls=_calls_of(found.exact),
        sure="simulated",
        assumption=f"{_UNRECORDED}. An answer stays right for as long as this was "
        "recorded, and the same prompt may be given the same answer again.",
        details=_counted(found.exact, found.media),
    )


def other_words(found: Hits) -> Answered:
    """Answer requests that ask in other words what others asked."""
    return Answered(
        name=SEMANTIC,
        calls=_calls_of(found.semantic),
        sure="simulated",
        assumption=f"{_UNRECORDED}. Questions that the cache takes for the same have "
        "the same answer.",
        details=_counted(found.semantic, found.media),
    )


def _is_kept(traffic: Traffic, request: Request, *, tool_calls: bool) -> bool:
    """Whether a cache keeps the answer of a request."""
    if not all(call.is_whole for call in request.asking):
        return False
    answer = request.asking[-1].entry.answer
    text = traffic.text(answer.digest) if answer else None
    rests = any(call.rests_on_tools for call in request.asking)
    return tool_calls or not (rests or called_tools(text or ""))


def _has_media(traffic: Traffic, request: Request) -> bool:
    """Whether there is more in its prompts than text."""
    usages = [call.entry.usage for call in request.asking]
    if any(u.image_input or u.audio_input or u.video_input for u in usages):
        return True
    marks = {mark for call in request.asking for mark in call.prompt}
    return any(_MEDIA.search(traffic.text(mark.digest) or "") for mark in marks)


def _calls_of(requests: Iterable[Request]) -> frozenset[Call]:
    return frozenset(call for request in requests for call in request.calls)


def _counted(requests: Sequence[Request], media: int) -> tuple[str, ...]:
    said = [many(len(requests), "request")] if requests else []
    if media:
        said.append(f"{many(media, 'request')} with pictures or other media left out")
    return tuple(said)


def _kind(answer: Any) -> str:
    kind: str = answer.message.response_metadata["lean"][-1]["kind"]
    return kind


def _asking(request: Request, questions: Questions, tenant_by: str | None) -> Asking:
    call = request.asking[0]
    identity = _identity(request, questions, tenant_by)
    question = questions.of(call)
    turns = [place for place, m in enumerate(call.prompt) if m.role != "system"]
    if len(turns) == 1 and question:
        prompt = prompt_string([HumanMessage(question)])
        return Asking(request, prompt, identity, question)
    prompt = _digest(_said(call, place, questions) for place in turns)
    return Asking(request, prompt, identity, None)


def _identity(request: Request, questions: Questions, tenant_by: str | None) -> str:
    """What must be the same beside the question.

    That are the model, its tools and instructions, the tenant, and what else the
    request asks: of a run that asks several things, all of them decide.
    """
    call, *more = request.asking
    places = [place for place, m in enumerate(call.prompt) if m.role == "system"]
    asked = _said(call, call.asked, questions)
    others = {_said(each, each.asked, questions) for each in more} - {asked}
    return _digest(
        [
            getattr(call.entry, tenant_by) if tenant_by else None,
            call.model,
            call.tools and call.tools.digest,
            [_said(call, place, questions) for place in places],
            sorted(others),
        ]
    )


def _said(call: Call, place: int, questions: Questions) -> str:
    """A message without documents and template, or its digest."""
    if place < 0:
        return ""
    mark, question = call.prompt[place], questions.of(call)
    if question is None:
        return f"{mark.role}:{mark.digest}"
    if place == call.asked:
        return f"{mark.role}:{question}"
    bare = questions.bare(call, mark) if call.retrieved else mark.digest
    return f"{mark.role}:{bare}"


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()

"""What system prompts and tool schemas hold that says nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_lean.accounting.report.words import many
from langchain_lean.context.retrieval.sentences import Chunk
from langchain_lean.whatif.costs import Kept
from langchain_lean.whatif.traffic import called_tools

if TYPE_CHECKING:
    from langchain_lean.accounting.entry import MessageMark
    from langchain_lean.whatif.costs import Most
    from langchain_lean.whatif.traffic import Call, Traffic

SYSTEM, TOOLS = "system prompt", "tool schemas"

_SHORTEST = 4  # words of a sentence that is a repeat, and no list item
_SHOWN = 5
_LINE_END = re.compile(r"[^\S\n]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
_WITHIN_LINE = re.compile(r"(?<=\S)[^\S\n]{2,}(?=\S)")
_DESCRIPTION = "description"
_PARAMETERS = (
    "parameters",
    "input_schema",
    "inputSchema",
)  # a provider's tool has none


class _Sizes(NamedTuple):
    """Tokens before and after, and how many sentences are gone."""

    before: int
    after: int
    repeats: int = 0


def tidied(text: str) -> str:
    """A text without white space that says nothing."""
    text = _WITHIN_LINE.sub(" ", _LINE_END.sub("", text))
    return _BLANK_LINES.sub("\n\n", text).strip()


def said_once(text: str) -> tuple[str, int]:
    """A text without the sentences that stand there again.

    Returns:
        The text, and how many sentences are gone.
    """
    if not text or text.isspace():
        return text, 0
    chunk = Chunk.of(text)
    seen: set[str] = set()
    kept = []
    for place, sentence in enumerate(chunk.sentences):
        words = sentence.lower().split()
        plain = " ".join(words)
        if len(words) < _SHORTEST or plain not in seen:
            kept.append(place)
            seen.add(plain)
    return chunk.cut(kept), len(chunk.sentences) - len(kept)


def system_prompt(traffic: Traffic) -> Kept:
    """Send each sentence of the system prompt once, and no needless white space.

    A system message that was sent with one question only is taken for one with data
    in it.

    Args:
        traffic: What was recorded, with texts.
    """
    times = Counter(
        system
        for system, _ in {
            (system.digest, _question(call))
            for call in traffic.asking
            for system in _systems(call)
        }
    )

    @cache
    def sizes(digest: str, model: str) -> _Sizes:
        text = traffic.text(digest) or ""
        before = traffic.counter.count(text, model=model)
        if times[digest] == 1:
            return _Sizes(before, before)
        once, repeats = said_once(text)
        after = traffic.counter.count(tidied(once), model=model)
        return _Sizes(before, min(before, after), repeats)

    most: dict[Call, Most] = {}
    repeats: dict[str, int] = {}
    for call in traffic.asking:
        found = {m.digest: sizes(m.digest, call.model[0]) for m in _systems(call)}
        before = sum(each.before for each in found.values())
        after = sum(each.after for each in found.values())
        if before > after:
            system = call.entry.anatomy.system
            most[call] = {"system": -(-system * after // before)}
            repeats |= {digest: each.repeats for digest, each in found.items()}
    again = sum(repeats.values())
    return Kept(
        name=SYSTEM,
        most=most,
        sure="exact",
        assumption="A sentence need not be said twice, and white space means nothing.",
        details=(many(again, "repeated sentence"),) if again else (),
    )


def tool_schemas(traffic: Traffic) -> Kept:
    """Send the schemas of tools that were called at least once, without white space.

    Args:
        traffic: What was recorded, with texts.
    """
    called = set(_called(traffic))

    @cache
    def sizes(digest: str, model: str) -> _Sizes:
        tools = json.loads(traffic.text(digest) or "[]")
        kept = [_tidied(tool) for tool in tools if _name(tool) in {None, *called}]
        before, after = (
            traffic.counter.count((), model=model, tools=each) for each in (tools, kept)
        )
        idle.update(name for tool in tools if (name := _name(tool)) not in called)
        return _Sizes(before, min(before, after))

    idle: set[str | None] = set()
    most: dict[Call, Most] = {}
    for call in traffic.asking:
        if call.tools is not None:
            found = sizes(call.tools.digest, call.model[0])
            if found.before > found.after:
                tools = call.entry.anatomy.tools
                most[call] = {"tools": -(-tools * found.after // found.before)}
    names = sorted(filter(None, idle))
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Kept(
        name=TOOLS,
        most=most,
        sure="assumed",
        assumption="A tool that nobody called while this was recorded is not needed.",
        details=(f"never called: {shown}{more}",) if names else (),
    )


def _systems(call: Call) -> Sequence[MessageMark]:
    return [mark for mark in call.prompt if mark.role == "system"]


def _question(call: Call) -> str | None:
    return next((m.digest for m in reversed(call.prompt) if m.role == "human"), None)


def _called(traffic: Traffic) -> Iterator[str]:
    """The tools that answers call, whoever asked for them."""
    answers = {
        mark.digest
        for call in traffic.calls
        for mark in (*call.entry.messages, call.entry.answer)
        if mark is not None and mark.role == "ai"
    }
    for digest in answers:
        yield from called_tools(traffic.text(digest) or "")


def _name(tool: Any) -> str | None:
    """The name of a tool that the application runs, in the form of any provider."""
    if not isinstance(tool, Mapping):
        return None
    named = tool.get("function") or tool.get("toolSpec") or tool
    own = named is tool and not any(key in tool for key in _PARAMETERS)
    name = named.get("name") if isinstance(named, Mapping) and not own else None
    return name if isinstance(name, str) else None


def _tidied(schema: Any) -> Any:
    """A schema with its descriptions without needless white space."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: tidied(value)
        if key == _DESCRIPTION and isinstance(value, str)
        else _tidied(value)
        for key, value in schema.items()
    }

"""A help desk over the documentation of Python's standard library.

The documents are the docstrings of the interpreter that runs, so nothing has to be
downloaded; the questions hold on CPython 3.11 to 3.13.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from langchain_core.documents import Document

MODULES = tuple(
    """
    argparse asyncio base64 bisect collections contextlib copy csv dataclasses datetime
    decimal difflib enum functools hashlib heapq inspect itertools json logging math os
    os.path pathlib queue random re secrets shlex shutil sqlite3 statistics string
    struct subprocess tempfile textwrap threading time typing urllib.parse zipfile
    """.split()
)
"""The modules that are documented; importing one has no side effect."""

_SHORTEST = 60  # characters; below it is little that a question could be answered with
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LAID_OUT = re.compile(r"^(\s|>>>|[-*] )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the help desk.

    Attributes:
        text: The question, as a user would put it.
        symbols: What a right answer names, any one of them, such as `json.loads`.
    """

    text: str
    symbols: tuple[str, ...]

    def answered_by(self, answer: str) -> bool:
        """Whether an answer names one of the symbols.

        Counted are the last two parts of its name (`Path.rglob`), and the last part
        alone where it is code: in backticks, or called.
        """
        return any(_names(symbol).search(answer) for symbol in self.symbols)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation: one user's questions, in their order.

    Attributes:
        user_id: Who asks.
        thread_id: The conversation.
        questions: What is asked, each with the earlier ones as its history.
    """

    user_id: str
    thread_id: str
    questions: tuple[Question, ...]


def documents() -> list[Document]:
    """Document the public functions, classes and methods of `MODULES`.

    Returns:
        One document per symbol whose docstring has 60 characters or more: a synopsis
        line such as `pydoc` prints (name, signature, first paragraph), then the rest;
        its metadata has the `symbol`. The same in every process.
    """
    seen: set[int] = set()
    found = []
    for name in MODULES:
        for symbol, thing in _symbols(import_module(name), name):
            text = thing.__doc__
            if id(thing) in seen or not isinstance(text, str):
                continue
            seen.add(id(thing))
            if len(text := inspect.cleandoc(text)) >= _SHORTEST:
                page = f"{symbol}{_signature(thing)} - {_unwrapped(text)}"
                found.append(Document(page, metadata={"symbol": symbol}))
    return found


def first_questions(count: int) -> tuple[Chat, ...]:
    """Take the first questions, chat by chat.

    Args:
        count: How many.

    Returns:
        The chats they belong to, the last one cut short where need be.
    """
    chats = []
    for chat in CHATS:
        taken = chat.questions[:count]
        count -= len(taken)
        if taken:
            chats.append(Chat(chat.user_id, chat.thread_id, taken))
    return tuple(chats)


def _symbols(module: ModuleType, name: str) -> Iterator[tuple[str, Any]]:
    """The public functions and classes of a module, each class before its methods."""
    homes = (name, f"_{name}")  # the second is the part of it that is written in C
    exported = getattr(module, "__all__", None) or [
        n for n, v in vars(module).items() if getattr(v, "__module__", "") in homes
    ]
    for symbol in sorted(n for n in exported if not n.startswith("_")):
        thing = getattr(module, symbol)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield f"{name}.{symbol}", thing
        for attribute, value in sorted(_methods(thing).items()):
            yield f"{name}.{symbol}.{attribute}", getattr(value, "__func__", value)


def _methods(thing: object) -> dict[str, Any]:
    if not inspect.isclass(thing):
        return {}
    own = vars(thing).items()
    return {n: v for n, v in own if inspect.isroutine(v) and not n.startswith("_")}


def _signature(thing: Any) -> str:
    try:
        return _ADDRESS.sub("", str(inspect.signature(thing)))
    except (TypeError, ValueError):  # many a function written in C has none
        return ""


def _unwrapped(text: str) -> str:
    """The text with each paragraph of prose on one line."""
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(
        p if _LAID_OUT.search(p) else " ".join(p.split()) for p in paragraphs
    )


def _names(symbol: str) -> re.Pattern[str]:
    last = re.escape(symbol.rpartition(".")[2])
    two = re.escape(".".join(symbol.split(".")[-2:]))
    return re.compile(rf"\b{two}\b|`{last}`|(?<!\w){last}\(")


def _chat(user_id: str, thread_id: str, *questions: str) -> Chat:
    """A chat from lines such as `How do I ...? -> json.loads json.load`."""
    pairs = (line.split(" -> ") for line in questions)
    return Chat(user_id, thread_id, tuple(Question(q, (*s.split(),)) for q, s in pairs))

"""The documentation the demo can look things up in, and its tool.

The documents are the docstrings of the interpreter that runs, so nothing has to be
downloaded.
"""

import builtins
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from langchain_core.documents import Document
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_lean.accounting.metered import MeteredEmbeddings
from langchain_lean.embeddings import local_embeddings

MODULES = tuple(
    """
    argparse asyncio base64 bisect collections contextlib copy csv dataclasses datetime
    decimal difflib enum functools hashlib heapq inspect itertools json logging math os
    os.path pathlib queue random re secrets shlex shutil sqlite3 statistics string
    struct subprocess tempfile textwrap threading time typing urllib.parse zipfile
    """.split()  # noqa: SIM905 - a list of words, not of strings
)
"""The modules that are documented; importing one has no side effect."""

EMBEDDINGS = "wordllama"
"""What the local embeddings are called in a ledger."""

_SHORTEST = 60  # characters; below it is little that a question could be answered with
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LAID_OUT = re.compile(r"^(\s|>>>|[-*] )", re.MULTILINE)


def documents() -> list[Document]:
    """Document the public functions, classes and methods of `MODULES`.

    Returns:
        One document per symbol whose docstring has 60 characters or more: a synopsis
        line such as `pydoc` prints (name, signature, first paragraph), then the rest;
        its metadata has the `symbol`. The same in every process.
    """
    found = []
    for name in MODULES:
        for symbol, thing in _symbols(import_module(name), name):
            text = inspect.cleandoc(thing.__doc__ or "")
            if len(text) >= _SHORTEST:
                page = f"{symbol}{_signature(thing)} - {_unwrapped(text)}"
                found.append(Document(page, metadata={"symbol": symbol}))
    return found


def build_index() -> VectorStore:
    """Embed the documents on this machine, all at once.

    Returns:
        The index. Building it is in no ledger; a query is in the one of `track()`.

    Raises:
        ConfigurationError: If the `local` extra is not installed.
    """
    embeddings = MeteredEmbeddings(local_embeddings(), model=EMBEDDINGS)
    index = InMemoryVectorStore(embeddings)
    index.add_documents(documents())
    return index


@tool
def signature(name: str) -> str:
    """Give the signature of a built-in function of Python, such as `sorted`."""
    thing = getattr(builtins, name, None)
    found = _signature(thing) if inspect.isroutine(thing) else ""
    return f"The signature is {name}{found}" if found else f"{name} has no signature."


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

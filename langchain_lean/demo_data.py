"""What the demo asks, and the documentation it can look things up in.

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
_ANSWERED = re.compile(r" (->|<-) ")
_LAID_OUT = re.compile(r"^(\s|>>>|[-*] )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the help desk.

    Attributes:
        text: The question, as a user would put it.
        symbols: What a right answer names, any one of them, such as `json.loads`.
        recalls: Whether these are what the user said earlier in the chat.
    """

    text: str
    symbols: tuple[str, ...]
    recalls: bool = False

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


def _chat(user_id: str, thread_id: str, *lines: str) -> Chat:
    """A chat from lines such as `How do I ...? -> json.loads json.load`.

    What stands behind `<-` is not documented, but was said earlier in the chat.
    """
    return Chat(user_id, thread_id, tuple(map(_question, lines)))


def _question(line: str) -> Question:
    text, arrow, symbols = _ANSWERED.split(line)
    return Question(text, tuple(symbols.split()), recalls=arrow == "<-")


CHATS = (
    _chat(
        "ada",
        "counting",
        "How do I count how many times each element occurs in a list?"
        " -> collections.Counter",
        "How do I find the ten largest elements of a dataset? -> heapq.nlargest",
    ),
    _chat(
        "grace",
        "folders",
        "How do I copy a whole directory tree to another destination?"
        " -> shutil.copytree",
        "How do I delete a directory tree with everything in it? -> shutil.rmtree",
    ),
    _chat(
        "ada",
        "text",
        "How do I turn a Python object into a JSON formatted string?"
        " -> json.dumps json.JSONEncoder.encode",
        "How do I break long text into lines of at most 70 columns?"
        " -> textwrap.wrap textwrap.fill",
    ),
    _chat(
        "linus",
        "samples",
        "How can I count how often each element occurs in a list?"
        " -> collections.Counter",
        "How do I compute the median of my data? -> statistics.median",
    ),
    _chat(
        "grace",
        "records",
        "How do I turn a Python object into a JSON formatted string?"
        " -> json.dumps json.JSONEncoder.encode",
        "How do I parse a string into a date when I know its format?"
        " -> datetime.datetime.strptime time.strptime",
    ),
    _chat(
        "ada",
        "archives",
        "How can I copy a whole directory tree to another destination?"
        " -> shutil.copytree",
        "How do I unpack all members of a zip archive into a directory?"
        " -> zipfile.ZipFile.extractall shutil.unpack_archive",
    ),
    _chat(
        "linus",
        "service",
        "How do I run a blocking function in a separate thread from async code?\n"
        "It is for Heron, the service that sends our invoices. -> asyncio.to_thread",
        "How do I give up on an awaitable after a timeout?"
        " -> asyncio.wait_for asyncio.timeout",
        "How do I run several coroutines at once and collect their results?\n"
        "Our production machine is named osprey-7. -> asyncio.gather",
        "How can I cache the results of a slow function so it runs once per argument?"
        " -> functools.lru_cache functools.cache",
        "How do I make a new function with some of the arguments already applied?\n"
        "Customers pay in kroner. -> functools.partial functools.partialmethod",
        "How do I group consecutive elements that share a key? -> itertools.groupby",
        "How do I make a random URL-safe token for a password reset link?"
        " -> secrets.token_urlsafe",
        "How do I derive a key from a password with a salt? -> hashlib.pbkdf2_hmac",
        "How do I encode bytes as Base64 text? -> base64.b64encode"
        " base64.standard_b64encode",
        "How do I turn a dataclass instance into a plain dict? -> dataclasses.asdict",
        "Which service of ours is it that sends the invoices? <- Heron",
        "How can I run a command and capture its output?"
        " -> subprocess.run subprocess.check_output subprocess.getoutput",
        "How do I find the full path of a program on PATH? -> shutil.which",
        "What is our production machine named? <- osprey-7",
        "How do I log an error together with its traceback?"
        " -> logging.exception logging.Logger.exception",
        "How do I remove the common indentation from a block of text?"
        " -> textwrap.dedent",
        "How do I get a temporary directory that is removed when I am done?"
        " -> tempfile.TemporaryDirectory",
        "Which currency do customers pay in? <- kroner",
    ),
)
"""Six chats of two questions, and a long one, whose user says three things early that
are asked for late. As at a real help desk some things are asked twice: the first
questions of `samples`, `records` and `archives` were asked by others before."""

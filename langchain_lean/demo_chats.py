"""What the demo asks; the questions hold on CPython 3.11 to 3.13."""

import re
from dataclasses import dataclass
from typing import Literal

Knows = Literal["documents", "user", "tool"]

_ANSWERED = re.compile(r" (->|<-|=>) ")
_KNOWS: dict[str, Knows] = {"->": "documents", "<-": "user", "=>": "tool"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the help desk.

    Attributes:
        text: The question, as a user would put it.
        symbols: What a right answer names, any one of them, such as `json.loads`.
        knows: Who knows these: the documents, the user, who said them earlier in the
            chat, or the tool.
    """

    text: str
    symbols: tuple[str, ...]
    knows: Knows = "documents"

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


def _names(symbol: str) -> re.Pattern[str]:
    last = re.escape(symbol.rpartition(".")[2])
    two = re.escape(".".join(symbol.split(".")[-2:]))
    return re.compile(rf"\b{two}\b|`{last}`|(?<!\w){last}\(")


def _chat(user_id: str, thread_id: str, *lines: str) -> Chat:
    """A chat from lines such as `How do I ...? -> json.loads json.load`.

    What stands behind `<-` is not documented, but was said earlier in the chat; what
    stands behind `=>` only the tool says.
    """
    return Chat(user_id, thread_id, tuple(map(_question, lines)))


def _question(line: str) -> Question:
    text, arrow, symbols = _ANSWERED.split(line)
    return Question(text, tuple(symbols.split()), _KNOWS[arrow])


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
        "alan",
        "signatures",
        "What is the signature of `round`? => ndigits=None",
        "How do I fold a list into one value with a function of two arguments?"
        " -> functools.reduce",
        "Which arguments are in the signature of `print`? => flush=False",
        "How do I give the same random numbers every time?"
        " -> random.seed random.Random.seed random.Random",
    ),
    _chat(
        "grace",
        "disks",
        "How do I see how much room is left on a disk? -> shutil.disk_usage",
        "How do I walk over all files below a directory? -> os.walk os.fwalk",
        "How do I look for files by a wildcard in a folder and all folders below it?"
        " -> pathlib.Path.rglob",
    ),
    _chat(
        "linus",
        "arguments",
        "What is the signature of `round`? => ndigits=None",
        "How do I keep a list sorted while I add to it?"
        " -> bisect.insort bisect.insort_left bisect.insort_right",
        "How do I glue several iterables together?"
        " -> itertools.chain itertools.chain.from_iterable",
    ),
    _chat(
        "barbara",
        "decorators",
        "How do I fold a list into one value with a function of two arguments?"
        " -> functools.reduce",
        "How do I keep the name and docstring of a function I wrap with a decorator?"
        " -> functools.wraps functools.update_wrapper",
        "How do I read the source of a function?"
        " -> inspect.getsource inspect.getsourcelines",
        "What is the signature of `compile`? => dont_inherit=False",
    ),
    _chat(
        "barbara",
        "bytes",
        "How do I pack numbers into bytes as C would lay them out?"
        " -> struct.pack struct.Struct.pack",
        "How do I check that two secrets are equal without leaking timing?"
        " -> secrets.compare_digest",
        "How do I wait a few seconds before my program goes on? -> time.sleep",
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
"""Chats of a few questions, and a long one, whose user says three things early that
are asked for late. As at a real help desk some things are asked twice, in `samples`,
`records`, `archives`, `arguments` and `decorators` at once. From `signatures` to
`bytes` users have words of their own for things, which is harder: what neither arm gets
right, asked by itself, was left out."""

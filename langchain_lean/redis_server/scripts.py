"""Lua scripts and the names of keys."""

from __future__ import annotations

import hashlib
import math
from importlib.resources import files
from urllib.parse import quote

_LONGEST_NAME = 128

Command = list[str | bytes | int]
"""What is sent: of a script EVALSHA, its digest, how many keys, the keys, ARGV."""

_texts: dict[str, str] = {}  # by digest


def script(package: str, *names: str, head: str = "") -> str:
    """The digest of a script, by which a server that has run it knows it.

    Args:
        package: Where its files are.
        names: The files without `.lua`, one after the other.
        head: What stands before them.
    """
    folder = files(package)
    parts = [(folder / f"{name}.lua").read_text("utf-8") for name in names]
    text = "\n".join([head, *parts])
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _texts[digest] = text
    return digest


def whole(command: Command) -> Command:
    """The same command with the script itself, for a server that does not know it."""
    return ["EVAL", _texts[str(command[1])], *command[2:]]


def name(text: str, *, safe: str = "") -> str:
    """The text as a part of a key: no two are the same, and none is long.

    Args:
        text: Anything.
        safe: Characters that stay, beside letters, digits and `_.-~`.
    """
    quoted = quote(text, safe=safe, errors="surrogatepass")
    if len(quoted) > _LONGEST_NAME:  # `quote` leaves no "#"
        return f"#{hashlib.sha256(quoted.encode()).hexdigest()}"
    return quoted


def milliseconds(seconds: float) -> int:
    """A duration in whole milliseconds, none too few."""
    return math.ceil(seconds * 1000)

"""`langchain-lean whatif`: what each lever would have saved on recorded traffic."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_lean.cli.arguments import existing, parser, share, whole
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_lean.whatif import WhatIf

_NARROWEST = 100
_EXAMPLE = """\
  langchain-lean whatif lean.db --cheap claude-haiku-4-5 --acceptance 0.7
"""
_COUNTS = (
    ("max_calls", 1, "calls that are looked at, the newest ones", 10_000),
    ("max_docs", 1, "documents of each retrieval that are still sent", 3),
    ("max_doc_tokens", 1, "tokens of each document", 400),
    ("max_tokens", 1, "tokens of all documents of a retrieval", 1200),
    ("memory_tokens", 1, "tokens from which a conversation is summed up", 4000),
    ("keep_tokens", 0, "tokens of the newest turns that stay as they are", 1500),
    ("max_summary_tokens", 1, "tokens of the notes on the others", 400),
)
_IN_FLAGS = (
    ('give cheap="its name", or a pair with its provider', "give --cheap MODEL"),
    ("give acceptance=", "give --acceptance SHARE"),
    ("give embeddings=, or ", ""),
)


def main(arguments: Sequence[str], *, prog: str) -> int:
    """Print what each lever would have saved on a ledger's traffic.

    Args:
        arguments: What stands behind the command.
        prog: How it is called.

    Returns:
        The exit code.
    """
    read = _parser(prog)
    given = vars(read.parse_args(arguments))
    path, as_json = given.pop("path"), given.pop("json")
    if "acceptance" in given and "cheap" not in given:
        read.error("--acceptance is about the answers of --cheap MODEL; give that, too")
    path = existing(path, "ledger")

    from langchain_lean.cli.ledgers import opened
    from langchain_lean.cli.models import priced_model
    from langchain_lean.cli.output import show, show_json
    from langchain_lean.whatif import what_if

    with opened(path) as ledger:
        if "cheap" in given:
            given["cheap"] = priced_model(given["cheap"], ledger.prices)
        try:
            found = what_if(ledger, **given)
        except ConfigurationError as error:
            read.error(_with_flags(str(error)))
    found = _in_flags(found)
    if as_json:
        show_json(found.to_dict())
    else:
        show(found, narrowest=_NARROWEST)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    read = parser(
        prog,
        "What each lever would have saved on the traffic of a ledger, how sure that "
        "is, and what all of them together would have saved. No model is asked, and "
        "nothing leaves this machine.\n\n"
        "A ledger recorded with TokenLedger(..., keep_text=True) tells most; without "
        "texts, what needs them is left out and named. Questions in other words are "
        "found with the local extra: pip install 'langchain-lean-ai[local]'.",
        _EXAMPLE,
    )

    def add(name: str, **how: Any) -> None:
        flag = f"--{name.replace('_', '-')}"
        read.add_argument(flag, default=argparse.SUPPRESS, **how)

    read.add_argument("path", metavar="PATH", help="the SQLite file of a TokenLedger")
    for name, least, said, usual in _COUNTS:
        add(name, type=whole(least), metavar="N", help=f"{said} (default: {usual})")
    add(
        "cheap",
        metavar="MODEL",
        help="the model that answers first and takes the notes: its id, or provider:id",
    )
    add(
        "acceptance",
        type=share,
        metavar="SHARE",
        help="the share of its answers that are good enough, from 0 to 1 (default: "
        "what the ledger's own router accepted)",
    )
    add(
        "threshold",
        type=share,
        metavar="COSINE",
        help="from which a question is close enough to be given a cached answer",
    )
    add(
        "tenant_by",
        choices=("user_id", "thread_id"),
        help="who must be the same to be given one (default: all share)",
    )
    add("tool_calls", action="store_true", help="also cache what rests on tools")
    add(
        "output_cap",
        type=whole(1),
        metavar="N",
        help="tokens an answer may have (default: what 95%% of them have at most)",
    )
    return read


def _in_flags(found: WhatIf) -> WhatIf:
    """The same, where what is missing is asked for as it is given here."""
    missing = {}
    for name, why in found.missing.items():
        for argument, flag in _IN_FLAGS:
            why = why.replace(argument, flag)
        missing[name] = why
    return replace(found, missing=missing)


def _with_flags(message: str) -> str:
    """An error about arguments of `what_if`, about those of the command line."""
    for name, *_ in _COUNTS:
        message = re.sub(rf"\b{name}\b=?", f"--{name.replace('_', '-')}", message)
    return message

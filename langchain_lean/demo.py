"""A help desk as people build it first, the ready graph, and what both spend.

`python -m langchain_lean.demo` asks questions about Python's standard library. In the
naive arm one strong model gets 20 documents and the whole chat in every prompt; the
lean arm is `build_lean_graph` with a cache, a `BudgetRetriever`, a `SummaryMemory` and
a small model. It needs no key: without `--provider` answers and notes are those of
stand-ins with real models' prices and a simulated latency.
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from rich.console import Console

from langchain_lean.command_line import Parser
from langchain_lean.demo_arms import (
    KEEP_TOKENS,
    MAX_SUMMARY_TOKENS,
    MAX_TOKENS,
    Arm,
    lean_arm,
    naive_arm,
    run_arm,
)
from langchain_lean.demo_chats import CHATS, first_questions
from langchain_lean.demo_comparison import (
    ROWS_EXPLAINED,
    Comparison,
    side_by_side,
)
from langchain_lean.demo_data import EMBEDDINGS, MODULES, build_index, documents
from langchain_lean.demo_models import (
    SMALL,
    SMALL_LATENCY,
    STRONG,
    STRONG_LATENCY,
    cheap_model,
    provider_errors,
    small_model,
    strong_model,
)
from langchain_lean.demo_results import ArmResult
from langchain_lean.demo_time import SimulatedTime
from langchain_lean.errors import LeanError
from langchain_lean.progress import progress_bar
from langchain_lean.sqlite_file import belongs_to_database, files_of

_PROG = "python -m langchain_lean.demo"
_NO_CACHE = "No prompt is cached: {} caches only what an application marks."
_CACHING = {
    "standin": _NO_CACHE.format("Anthropic"),
    "openai": "OpenAI caches prompts from 1,024 tokens on by itself, so there is less "
    "to save: the memory sums up only where it still pays.",
    "bedrock": _NO_CACHE.format("Bedrock"),
}
_MOST = sum(len(chat.questions) for chat in CHATS)
_SIMULATED = {
    name: {"first_token": first, "each_token": each}
    for name, (first, each) in (("strong", STRONG_LATENCY), ("small", SMALL_LATENCY))
}


def main(arguments: Sequence[str] | None = None, *, prog: str = _PROG) -> int:
    """Run the demo from the command line.

    Args:
        arguments: The command line's; those of the process if not given.
        prog: How it is called, for its help.

    Returns:
        The exit code: 0, 1 where the provider failed, 2 where something is missing.
    """
    options = _options(arguments, prog)
    console = Console(quiet=options.json)
    try:
        strong = strong_model(options.provider, options.model)
        _say(console, *_who_answers(options))
        results = _results(console, strong, options)
        _show(console, results, options)
        if options.json:
            sys.stdout.write(json.dumps(_figures(results, options), indent=2) + "\n")
        _write_pages(console, results, options)
    except (LeanError, OSError) as error:
        return _failed(error, 2)
    except provider_errors(options.provider) as error:
        return _failed(error, 1)
    return 0


def _results(
    console: Console, strong: BaseChatModel, options: argparse.Namespace
) -> list[ArmResult]:
    """Ask the arms, one after the other; each has a report with a title of its own."""
    simulated = SimulatedTime() if options.provider == "standin" else None
    arms = _arms(console, strong, options, simulated)
    chats = first_questions(options.questions)
    answered, asked = count(1), len(arms) * options.questions
    with (
        progress_bar("Asking") as told,
        # One loop, as real models keep their connections.
        asyncio.Runner(
            loop_factory=None if simulated is None else simulated.loop
        ) as runner,
    ):
        results = [
            runner.run(
                run_arm(arm, chats, on_answer=lambda _: told(next(answered) / asked))
            )
            for arm in arms
        ]
    for arm in arms:
        arm.ledger.close()
    return [
        replace(result, report=replace(result.report, title=_title(result, options)))
        for result in results
    ]


def _arms(
    console: Console,
    strong: BaseChatModel,
    options: argparse.Namespace,
    simulated: SimulatedTime | None,
) -> list[Arm]:
    started = time.perf_counter()
    index = build_index()
    seconds = time.perf_counter() - started
    python = f"{len(MODULES)} modules of Python {platform.python_version()}"
    _say(console, f"Indexed the docstrings of {python} in {seconds:.1f} s.")
    _say(console, f"{EMBEDDINGS} embeds on this machine: its price is set to $0.")
    arms = []
    if options.arm != "lean":
        kept = _ledger_of("naive", options)
        arms.append(naive_arm(strong, index, simulated, kept))
    if options.arm != "naive":
        _say(console, *_about_the_lean_arm(options.provider))
        small = cheap_model(options.provider), small_model(options.provider)
        kept = _ledger_of("lean", options)
        desk = (strong, *small, index, documents())
        arms.append(lean_arm(*desk, simulated, kept))
    return arms


def _file_of(arm: str, named: Path, options: argparse.Namespace) -> Path:
    """A file of an arm: that of the last one has the name that was asked for."""
    last = "naive" if options.arm == "naive" else "lean"
    return named if arm == last else named.with_stem(f"{named.stem}-{arm}")


def _ledger_of(arm: str, options: argparse.Namespace) -> Path | None:
    return _file_of(arm, options.ledger, options) if options.ledger else None


def _show(
    console: Console, results: Sequence[ArmResult], options: argparse.Namespace
) -> None:
    """The arms side by side, what is saved, and the report of the last one."""
    _say(console, "", f"The same questions to each arm, {_model_label(options)}")
    console.print(side_by_side(results))
    _say(console, *ROWS_EXPLAINED)
    if len(results) > 1:
        _say(console, *Comparison(*results).in_words())
    console.print("", results[-1].report, "", sep="\n")


def _write_pages(
    console: Console, results: Sequence[ArmResult], options: argparse.Namespace
) -> None:
    """Write a page for each arm, and say where it is, and where its ledger is."""
    for result in reversed(results):
        page = _file_of(result.name, options.output, options)
        result.report.write_html(page)
        _say(console, f"The report of the {result.name} arm is in {page}.")
        if kept := _ledger_of(result.name, options):
            _say(console, f"Its calls and their texts are in {kept}.")


def _figures(
    results: Sequence[ArmResult], options: argparse.Namespace
) -> dict[str, Any]:
    compared = Comparison(*results).figures() if len(results) > 1 else None
    memory = {
        "model": SMALL[options.provider],
        "max_tokens": MAX_TOKENS,
        "keep_tokens": KEEP_TOKENS,
        "max_summary_tokens": MAX_SUMMARY_TOKENS,
    }
    return {
        "stand_in": options.provider == "standin",
        "model": options.model,
        "cheap_model": None if options.arm == "naive" else SMALL[options.provider],
        "memory": None if options.arm == "naive" else memory,
        "simulated_seconds": _SIMULATED if options.provider == "standin" else None,
        "arms": {result.name: result.figures() for result in results},
        "saving": compared,
    }


def _title(result: ArmResult, options: argparse.Namespace) -> str:
    others = [SMALL[options.provider]] if result.name == "lean" else []
    return f"{result.name.title()} help desk, {_model_label(options, *others)}"


def _model_label(options: argparse.Namespace, *others: str) -> str:
    label = " and ".join([options.model, *others])
    if options.provider != "standin":
        return label
    return f"stand-in{'s' if others else ''} priced as {label}"


def _who_answers(options: argparse.Namespace) -> Iterator[str]:
    label = _model_label(options)
    if options.provider != "standin":
        which = "those of both arms" if options.arm == "both" else "them"
        yield f"Answers are of {label}; {options.provider} bills you for {which}."
        return
    yield f"Answers, times and costs are not a model's: {label}."
    (first, each), (small_first, small_each) = STRONG_LATENCY, SMALL_LATENCY
    yield f"Simulated are {first} s to its first token and {each} s for each token, and"
    yield f"{small_first} s and {small_each} s of smaller ones; all else takes no time."


def _about_the_lean_arm(provider: str) -> Iterator[str]:
    small = SMALL[provider]
    cheap = f"a stand-in priced as {small}" if provider == "standin" else small
    yield "The lean arm embeds sentences, too, which no ledger counts."
    yield "Where a chat opens with what others asked, its cache answers."
    yield f"Else {cheap} says what is needed and answers first;"
    yield "what hedges, breaks off or names no part of the library goes on to the"
    yield "strong model."
    yield (
        f"A memory cuts a chat of {MAX_TOKENS:,} tokens down to the newest "
        f"{KEEP_TOKENS} and notes of at most {MAX_SUMMARY_TOKENS}."
    )
    if provider == "standin":
        yield "Stand-ins go by a word of the question, and note what users said."
    yield _CACHING[provider]


def _options(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = Parser(
        prog=prog,
        description="A help desk as people build it first, the same made lean, and "
        "what both spend.",
    )
    add = parser.add_argument
    add("--provider", choices=STRONG, default="standin", help="who answers")
    add("--model", help="the id of a model of openai or bedrock")
    add("--arm", choices=("naive", "lean", "both"), default="both", help="who is asked")
    add("--questions", type=int, default=_MOST, metavar="N", help=f"from 1 to {_MOST}")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="the page of the report (default: lean-report.html; lean-report-naive.html"
        " where the naive arm alone is asked)",
    )
    add("--ledger", type=Path, metavar="FILE", help="keep calls and texts in new files")
    add("--json", action="store_true", help="print the figures, as JSON only")
    options = parser.parse_args(arguments)
    if options.output is None:
        naive = "-naive" if options.arm == "naive" else ""
        options.output = Path(f"lean-report{naive}.html")
    _check(options, parser)
    options.model = options.model or STRONG[options.provider]
    return options


def _check(options: argparse.Namespace, parser: Parser) -> None:
    if not 1 <= options.questions <= _MOST:
        parser.error(f"--questions must be from 1 to {_MOST}")
    if options.output.is_dir():
        parser.error("--output is the file of a page, not a folder")
    for file in filter(None, (options.output, options.ledger)):
        if not file.absolute().parent.is_dir():
            parser.error(f"there is no folder {file.absolute().parent}")
    arms = ("naive", "lean")
    pages = [_file_of(arm, options.output, options) for arm in arms]
    ledgers = [kept for arm in arms if (kept := _ledger_of(arm, options))]
    for kept in ledgers:
        if kept.exists():
            parser.error(f"--ledger makes new files, and there is a {kept} already")
    for file in filter(belongs_to_database, (*pages, *ledgers)):
        parser.error(f"{file} is a file of a database, which it would replace")
    taken = {file for kept in ledgers for file in files_of(kept)}
    if any(page.resolve() in taken for page in pages):
        parser.error("--ledger and --output name the same file")
    if options.model and options.provider == "standin":
        parser.error("--model needs --provider openai or bedrock")


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _failed(error: Exception, code: int) -> int:
    _say(Console(stderr=True), str(error))
    return code


if __name__ == "__main__":
    sys.exit(main())

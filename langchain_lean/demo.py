"""A help desk as people build it first, the same made lean, and what both spend.

`python -m langchain_lean.demo` asks 30 questions about Python's standard library. In
the naive arm one strong model gets 20 documents and the whole chat in every prompt; the
lean arm differs in its retriever alone, a `BudgetRetriever`. It needs no key: without
`--provider` the answers are those of a stand-in with a real model's prices.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from langchain_lean.accounting.report import words
from langchain_lean.demo_arms import (
    Arm,
    ArmResult,
    Comparison,
    lean_arm,
    naive_arm,
    run_arm,
)
from langchain_lean.demo_data import (
    CHATS,
    EMBEDDINGS,
    MODULES,
    build_index,
    documents,
    first_questions,
)
from langchain_lean.errors import ConfigurationError, LeanError
from langchain_lean.testing import ExtractiveChatModel

STRONG = {
    "standin": "gpt-6.1-sol",
    "openai": "gpt-6.1-sol",
    "bedrock": "global.anthropic.claude-sonnet-5-5",
}
"""The strong model of each provider; the stand-in only has its prices."""


def strong_model(provider: str, name: str) -> BaseChatModel:
    """Make the model of a provider.

    Args:
        provider: `standin`, `openai` or `bedrock`.
        name: The model's id.

    Returns:
        The model; nothing is called yet.

    Raises:
        ConfigurationError: If there is no key, or are no credentials, for it.
    """
    if provider == "openai":
        if not os.environ.get("OPENAI_API_KEY"):
            msg = "--provider openai needs a key: set OPENAI_API_KEY."
            raise ConfigurationError(msg)
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=name)
    if provider == "bedrock":
        _check_aws()
        from langchain_aws import ChatBedrockConverse

        return ChatBedrockConverse(model_id=name)
    return ExtractiveChatModel(model_name=name, provider="openai", sentences=4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from the command line.

    Args:
        arguments: The command line's; those of the process if not given.

    Returns:
        The exit code: 0, 1 where the provider failed, 2 where something is missing.
    """
    options = _options(arguments)
    console = Console(quiet=options.json)
    try:
        model = strong_model(options.provider, options.model)
        _say(console, _who_answers(options))
        results = _results(console, model, options)
        _show(console, results, options)
        if options.json:
            sys.stdout.write(json.dumps(_figures(results, options), indent=2) + "\n")
        _write_pages(console, results, options.output)
    except (LeanError, OSError) as error:
        return _failed(error, 2)
    except _provider_errors(options.provider) as error:
        return _failed(error, 1)
    return 0


def _results(
    console: Console, model: BaseChatModel, options: argparse.Namespace
) -> list[ArmResult]:
    """Ask the arms, one after the other; each has a report with a title of its own."""
    arms = _arms(console, model, options.arm)
    chats = first_questions(options.questions)
    label = _model_label(options)
    silent = console.quiet or not console.is_interactive
    with Progress(console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("Asking", total=len(arms) * options.questions)
        results = [
            run_arm(arm, chats, on_answer=lambda _: progress.advance(task))
            for arm in arms
        ]
    titles = (f"Help desk, {result.name} arm, {label}" for result in results)
    return [
        replace(result, report=replace(result.report, title=title))
        for result, title in zip(results, titles, strict=True)
    ]


def _arms(console: Console, model: BaseChatModel, chosen: str) -> list[Arm]:
    started = time.perf_counter()
    index = build_index()
    arms = [naive_arm(model, index), lean_arm(model, index, documents())]
    seconds = time.perf_counter() - started
    python = f"{len(MODULES)} modules of Python {platform.python_version()}"
    _say(console, f"Indexed the docstrings of {python} in {seconds:.1f} s.")
    _say(console, f"{EMBEDDINGS} embeds on this machine: its price is set to $0.")
    if chosen != "naive":
        _say(console, "The lean arm embeds sentences, too, which no ledger counts.")
    return [arm for arm in arms if chosen in (arm.name, "both")]


def _show(
    console: Console, results: Sequence[ArmResult], options: argparse.Namespace
) -> None:
    """The arms side by side, what is saved, and the report of the last one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("arm")
    for name in ("calls", "input", "output", "cost", "right", "answered in (p50)"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_row(result))
    _say(console, "", f"The same questions to each arm, {_model_label(options)}")
    console.print(table)
    _say(console, "right: the answer names a function or class that solves it")
    if len(results) > 1:
        _say(console, *_in_words(Comparison(*results)))
    console.print("", results[-1].report, "", sep="\n")


def _row(result: ArmResult) -> tuple[str, ...]:
    total = result.report.total
    return (
        result.name,
        f"{total.calls:,}",
        words.count(total.usage.input),
        words.count(total.usage.output),
        words.cost(total),
        f"{result.right} of {len(result.answers)}",
        words.duration(result.seconds),
    )


def _in_words(both: Comparison) -> Iterator[str]:
    lost, gained = len(both.lost), len(both.gained)
    yield f"Right in the naive arm alone: {lost}; in the lean arm alone: {gained}."
    if both.saved is None or both.share is None:
        yield "Some calls have no price, so nobody can say what was saved."
        return
    amount, share = words.money(abs(both.saved)), words.share(abs(both.share))
    compared = "less" if both.saved >= 0 else "more"
    yield f"The lean arm cost {amount} {compared} than the naive one ({share})."
    claim = words.money(both.claimed)
    if both.saved > 0:
        off = float(both.claimed / both.saved) - 1
        claim += f", {words.share(abs(off))} {'more' if off > 0 else 'less'} than that"
    yield f"Its ledger claims {claim}: it compares with whole documents"
    yield "of its own ranking, and leaves out what other answers cost."


def _write_pages(console: Console, results: Sequence[ArmResult], output: Path) -> None:
    """Write a page for each arm, the last one's under the name that was asked for."""
    *others, last = results
    last.report.write_html(output)
    _say(console, f"The report of the {last.name} arm is in {output}.")
    for result in others:
        page = output.with_stem(f"{output.stem}-{result.name}")
        result.report.write_html(page)
        _say(console, f"That of the {result.name} arm is in {page}.")


def _figures(
    results: Sequence[ArmResult], options: argparse.Namespace
) -> dict[str, Any]:
    compared = Comparison(*results).figures() if len(results) > 1 else None
    return {
        "stand_in": options.provider == "standin",
        "model": options.model,
        "arms": {result.name: result.figures() for result in results},
        "saving": compared,
    }


def _model_label(options: argparse.Namespace) -> str:
    label = "stand-in priced as " if options.provider == "standin" else ""
    return f"{label}{options.model}"


def _who_answers(options: argparse.Namespace) -> str:
    label = _model_label(options)
    if options.provider == "standin":
        return f"Answers, times and costs are not a model's: {label}."
    which = "those of both arms" if options.arm == "both" else "them"
    return f"Answers are of {label}; {options.provider} bills you for {which}."


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    most = sum(len(chat.questions) for chat in CHATS)
    parser = argparse.ArgumentParser(
        prog="python -m langchain_lean.demo",
        description="A help desk as people build it first, the same made lean, and "
        "what both spend.",
    )
    add = parser.add_argument
    add("--provider", choices=STRONG, default="standin", help="who answers")
    add("--model", help="the id of a model of openai or bedrock")
    add("--arm", choices=("naive", "lean", "both"), default="both", help="who is asked")
    add("--questions", type=int, default=most, metavar="N", help=f"from 1 to {most}")
    add("--output", type=Path, default=Path("lean-report.html"), help="the report")
    add("--json", action="store_true", help="print the figures, as JSON only")
    options = parser.parse_args(arguments)
    if not 1 <= options.questions <= most:
        parser.error(f"--questions must be from 1 to {most}")
    if not options.output.absolute().parent.is_dir():
        parser.error(f"there is no folder {options.output.absolute().parent}")
    if options.model and options.provider == "standin":
        parser.error("--model needs --provider openai or bedrock")
    options.model = options.model or STRONG[options.provider]
    return options


def _check_aws() -> None:
    from boto3 import Session
    from botocore.exceptions import BotoCoreError

    try:
        session = Session()
        key = os.environ.get("AWS_BEARER_TOKEN_BEDROCK") or session.get_credentials()
        region = os.environ.get("AWS_REGION") or session.region_name
    except BotoCoreError as error:
        msg = f"--provider bedrock cannot use your AWS configuration: {error}."
        raise ConfigurationError(msg) from None
    if not (key and region):
        msg = (
            "--provider bedrock needs AWS credentials and a region: "
            "run `aws configure`, or set AWS_PROFILE and AWS_REGION."
        )
        raise ConfigurationError(msg)


def _provider_errors(provider: str) -> tuple[type[Exception], ...]:
    """What a failing provider raises; LangChain has its own errors for OpenAI only."""
    if provider != "bedrock":
        return (ModelError,)
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _failed(error: Exception, code: int) -> int:
    _say(Console(stderr=True), str(error))
    return code


if __name__ == "__main__":
    sys.exit(main())

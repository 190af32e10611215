"""A help desk as people build it first, and what it spends.

`python -m langchain_lean.demo` asks 30 questions about Python's standard library: one
strong model, 20 documents and the whole chat in every prompt. It needs no key: without
`--provider` the answers are those of a stand-in with a real model's prices.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import Progress

from langchain_lean.demo_arms import ArmResult, naive_arm, run_arm
from langchain_lean.demo_data import (
    CHATS,
    EMBEDDINGS,
    MODULES,
    build_index,
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
        result = _asked(console, model, options.questions)
        report = replace(result.report, title=f"Help desk, {_model_label(options)}")
        console.print("", report, "", sep="\n")
        right = f"{result.right} of {len(result.answers)}"
        _say(console, f"{right} answers name a function or class that solves it.")
        report.write_html(options.output)
    except (LeanError, OSError) as error:
        return _failed(error, 2)
    except _provider_errors(options.provider) as error:
        return _failed(error, 1)
    _say(console, f"The report is in {options.output}.")
    if options.json:
        labels = {"stand_in": options.provider == "standin", "model": options.model}
        sys.stdout.write(json.dumps({**labels, **result.figures()}, indent=2) + "\n")
    return 0


def _asked(console: Console, model: BaseChatModel, questions: int) -> ArmResult:
    started = time.perf_counter()
    index = build_index()
    seconds = time.perf_counter() - started
    python = f"{len(MODULES)} modules of Python {platform.python_version()}"
    _say(console, f"Indexed the docstrings of {python} in {seconds:.1f} s.")
    _say(console, f"{EMBEDDINGS} embeds on this machine: its price is set to $0.")
    silent = console.quiet or not console.is_interactive
    with Progress(console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("Asking", total=questions)
        return run_arm(
            naive_arm(model, index),
            first_questions(questions),
            on_answer=lambda _: progress.advance(task),
        )


def _model_label(options: argparse.Namespace) -> str:
    label = "stand-in priced as " if options.provider == "standin" else ""
    return f"{label}{options.model}"


def _who_answers(options: argparse.Namespace) -> str:
    label = _model_label(options)
    if options.provider == "standin":
        return f"Answers, times and costs are not a model's: {label}."
    return f"Answers are of {label}; {options.provider} bills you for them."


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    most = sum(len(chat.questions) for chat in CHATS)
    parser = argparse.ArgumentParser(
        prog="python -m langchain_lean.demo",
        description="A help desk as people build it first, and what it spends.",
    )
    add = parser.add_argument
    add("--provider", choices=STRONG, default="standin", help="who answers")
    add("--model", help="the id of a model of openai or bedrock")
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


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _failed(error: Exception, code: int) -> int:
    _say(Console(stderr=True), str(error))
    return code


if __name__ == "__main__":
    sys.exit(main())

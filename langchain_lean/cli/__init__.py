"""The command line: `langchain-lean`, or `python -m langchain_lean`.

Each command is a module with a `main` of its own, loaded when it is asked for, so that
help is there at once.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module

from langchain_lean.command_line import Parser
from langchain_lean.errors import ConfigurationError, LeanError, UsageError

_PROG = "langchain-lean"
_COMMANDS = {
    "demo": ("langchain_lean.demo", "what a help desk spends, and the same made lean"),
    "report": ("langchain_lean.cli.report", "what a ledger's application spent"),
    "whatif": ("langchain_lean.cli.whatif", "what each lever would have saved on it"),
    "prices": ("langchain_lean.cli.prices", "what models cost, side by side"),
    "budget": ("langchain_lean.cli.budget", "how budgets stand, and begin anew"),
}
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_EPILOG = """\
exit codes:
  0  done
  1  it failed: a file, a store, a provider, a model without a price
  2  it was asked for in a way that makes no sense
  130 and 141, without a word: interrupted, or nobody reads the output any more

example:
  langchain-lean report lean.db --by user_id
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line's; those of the process if not given.

    Returns:
        The exit code: 0, 1 where the work failed, 2 for wrong usage, 130 where it was
        interrupted, 141 where nobody reads the output any more.
    """
    with _streams():
        return _ended(arguments)


def _ended(arguments: Sequence[str] | None) -> int:
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (ConfigurationError, UsageError) as error:
        return _failed(str(error), 2)
    except LeanError as error:
        return _failed(str(error), 1)
    except BrokenPipeError:
        _discard_output()
        return 141
    except OSError as error:
        return _failed(_in_a_sentence(error), 1)
    except KeyboardInterrupt:
        return 130
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return 0
        module = import_module(_COMMANDS[options.command][0])
        code: int = module.main(options.rest, prog=f"{_PROG} {options.command}")
    except SystemExit as stopped:  # argparse has helped, or said what is wrong
        return stopped.code if isinstance(stopped.code, int) else 0
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, _COMMANDS))
    listed = (f"  {name:{width}}  {said}" for name, (_, said) in _COMMANDS.items())
    parser = Parser(
        prog=_PROG,
        usage=f"{_PROG} [-h] [--version] COMMAND ...",
        description="Know what a LangChain application spends, and what it could save."
        "\n\ncommands (COMMAND --help says more):\n" + "\n".join(listed),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    add = parser.add_argument
    add(
        "command",
        nargs="?",
        choices=_COMMANDS,
        metavar="COMMAND",
        help=argparse.SUPPRESS,
    )
    add("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        version = import_module("langchain_lean").__version__
        sys.stdout.write(f"{_PROG} {version}\n")
        parser.exit()


@contextmanager
def _streams() -> Iterator[None]:
    """Streams that the process was started without lead nowhere."""
    with ExitStack() as opened:
        for name, mode in _STREAMS:
            if getattr(sys, name) is None:
                nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
                opened.callback(setattr, sys, name, None)
                setattr(sys, name, opened.enter_context(nowhere))
        yield


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{' '.join(message.split())}\n")
    return code


def _in_a_sentence(error: OSError) -> str:
    why = error.strerror or type(error).__name__
    if error.filename is None:
        return f"{why}."
    return f"{str(error.filename)!r} cannot be used: {why}."


def _discard_output() -> None:
    """Let the interpreter flush into nothing when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

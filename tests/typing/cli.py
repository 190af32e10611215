"""How the command line is called from Python, for mypy: never run."""

from typing import assert_type

from langchain_lean.cli import main


def a_command() -> None:
    assert_type(main(["report", "lean.db"]), int)
    assert_type(main(), int)

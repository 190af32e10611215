"""`langchain-lean budget`: how budgets stand, and begin anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_lean.cli.arguments import parser
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_lean.budgets.budget import Budget
    from langchain_lean.budgets.guard import BudgetGuard
    from langchain_lean.budgets.status import BudgetStatus
    from langchain_lean.cli.output import Page

_HEAD = ("budget", "used", "held", "remaining", "overshoot", "resets at")
_EXAMPLE = """\
  langchain-lean budget status user_id=ada --guard app:guard
  langchain-lean budget reset user_id=ada --store redis://localhost:6379/0 \\
      --budget 'usd=1.00 per=day by=user_id'
"""


def main(arguments: Sequence[str], *, prog: str) -> int:
    """Show how budgets stand, or let them begin anew.

    Args:
        arguments: What stands behind the command.
        prog: How it is called.

    Returns:
        The exit code.
    """
    read = _parser(prog)
    options = read.parse_intermixed_args(arguments)
    if (options.guard is None) == (options.store is None):
        read.error("give either --guard MODULE:NAME, or --store URL with --budget")
    if options.guard and (options.budget or options.namespace):
        read.error("--budget and --namespace go with --store; a guard has its own")
    if options.store and not options.budget:
        read.error("--store needs --budget, such as 'usd=1.00 per=day by=user_id'")
    whose = dict(options.whose)
    if len(whose) < len(options.whose):
        read.error("a KEY stands twice; name one VALUE of each")

    from langchain_lean.cli.guards import built_guard, named_guard

    guard = (
        named_guard(options.guard)
        if options.guard
        else built_guard(options.store, options.budget, options.namespace)
    )
    act = _status if options.action == "status" else _reset
    return act(guard, whose, options)


def _parser(prog: str) -> argparse.ArgumentParser:
    read = parser(
        prog,
        "How budgets stand; or let them begin anew in their present window.\n\n"
        "Budgets are defined in code: name the guard of your application, or say where "
        "it counts, and what. 'reset' is about the budgets that are by just the keys "
        "given; all others stay as they are.",
        _EXAMPLE,
    )
    add = read.add_argument
    add("action", choices=("status", "reset"), help="what to do")
    add(
        "whose",
        nargs="*",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="whose budgets, such as user_id=ada; thread_id=... and run_id=... for "
        "budgets of a thread and a run",
    )
    add(
        "--guard",
        metavar="MODULE:NAME",
        help="the BudgetGuard of your application, imported from this folder",
    )
    add(
        "--store",
        metavar="URL",
        help="without code: sqlite:///quota.db, redis://host:6379/0 or "
        "dynamodb://table?region=...",
    )
    add("--namespace", help="as given to the guard (default: lean)")
    add(
        "--budget",
        action="append",
        metavar="BUDGET",
        help="the arguments of a Budget, such as 'usd=1.00 per=day by=user_id'; may be "
        "repeated",
    )
    add("--yes", action="store_true", help="reset without being asked")
    return read


def _status(
    guard: BudgetGuard, whose: dict[str, str], options: argparse.Namespace
) -> int:
    from langchain_lean.cli.output import show, show_json

    found = guard.status(**whose)
    if options.json:
        show_json({"budgets": [_figures(status) for status in found]})
    else:
        notes = _notes(found, whose)
        if options.budget and (unused := _unused(found, whose)):
            notes.append(unused)
        show(_page(found, notes))
    return 0


def _reset(
    guard: BudgetGuard, whose: dict[str, str], options: argparse.Namespace
) -> int:
    from langchain_lean.accounting.report import words
    from langchain_lean.cli.output import show_json, tell

    before = [s for s in guard.status(**whose) if _is_reset(s.budget, whose)]
    keys = " ".join(f"{key}={value}" for key, value in whose.items())
    if not before:
        msg = (
            f"No budget is by just {' and '.join(whose)}; status shows what there is."
            if whose
            else "Each budget is of somebody or something: say of whom, as KEY=VALUE."
        )
        raise ConfigurationError(msg)
    for status in before:
        used = f"{status.budget.said(status.used)} used"
        stands = used if _is_used(status) else "nothing is counted there"
        whom = f" for {keys}" if keys else ""
        tell(words.printable(f"To reset{whom}: {status.budget} ({stands})."))
    if options.budget and (unused := _unused(before, whose)):
        tell(unused)
    if not options.yes:
        if not sys.stdin.isatty():
            msg = "Nobody is there to be asked; give --yes to reset all the same."
            raise ConfigurationError(msg)
        sys.stderr.write("Reset? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            tell("Nothing was reset.")
            return 1
    guard.reset(**whose)
    if options.json:
        show_json({"reset": [_figures(status) for status in before]})
    else:
        tell("Reset." if any(map(_is_used, before)) else "Nothing was there to reset.")
    return 0


def _is_reset(budget: Budget, whose: dict[str, str]) -> bool:
    """Whether `BudgetGuard.reset` is about a budget."""
    of_run = "run_id" in whose
    keys = whose.keys() - {"run_id"}
    return (
        keys == set(budget.keys)
        and of_run == (budget.per == "run")
        and (budget.per != "call")
    )


def _is_used(status: BudgetStatus) -> bool:
    return bool(status.used or status.held)


def _unused(found: Sequence[BudgetStatus], whose: dict[str, str]) -> str:
    """What to check of budgets that were typed where nothing is counted; else empty."""
    asked = [
        status.budget
        for status in found
        if not _is_used(status)
        and status.budget.per != "call"
        and ("run_id" in whose or status.budget.per != "run")
    ]
    if not asked:
        return ""
    from langchain_lean.accounting.report import words

    return (
        f"Nothing is counted under {words.printable('; '.join(map(str, asked)))}. "
        "What it limits, its per, by, name and timezone, and on a server the namespace "
        "must be those of the application."
    )


def _page(found: Sequence[BudgetStatus], notes: Sequence[str]) -> Page:
    from rich.text import Text

    from langchain_lean.accounting.report import words
    from langchain_lean.cli.output import Page, table

    rows = [_HEAD]
    for status in found:
        said = status.budget.said
        rows.append(
            (
                words.printable(str(status.budget)),
                said(status.used),
                said(status.held) if status.held else "-",
                "no limit" if status.remaining is None else said(status.remaining),
                said(status.overshoot) if status.overshoot else "-",
                f"{status.resets_at:%Y-%m-%d %H:%M} UTC" if status.resets_at else "-",
            )
        )
    return Page((table(rows), *(Text(n, style="dim") for n in notes)))


def _notes(found: Sequence[BudgetStatus], whose: dict[str, str]) -> list[str]:
    """What to know where a budget is somebody's, and it was not said whose."""
    budgets = [status.budget for status in found]
    asked = {key for budget in budgets for key in budget.keys} - whose.keys()
    notes = [
        f"Without {key}=... these are the calls that have no {key}."
        for key in sorted(asked)
    ]
    if any(budget.per == "run" for budget in budgets) and "run_id" not in whose:
        notes.append("Name a run with run_id=... to see a budget per run.")
    if any(budget.per == "call" for budget in budgets):
        notes.append("A budget per call has no past: each call begins with all of it.")
    return notes


def _figures(status: BudgetStatus) -> dict[str, Any]:
    budget = status.budget
    return {
        "budget": str(budget),
        "name": budget.name,
        "unit": budget.unit,
        "per": budget.per,
        "by": list(budget.keys),
        "limit": None if budget.limit is None else _number(budget.value(budget.limit)),
        "used": _number(status.used),
        "held": _number(status.held),
        "remaining": None if status.remaining is None else _number(status.remaining),
        "overshoot": _number(status.overshoot),
        "resets_at": status.resets_at.isoformat() if status.resets_at else None,
    }


def _number(value: Decimal | int) -> str | int:
    """Dollars exactly, as text; a count as it is."""
    from langchain_lean.accounting.report import words

    return words.exact_money(value) if isinstance(value, Decimal) else value


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not (key and found and value):
        msg = f"must be KEY=VALUE such as user_id=ada, not {text!r:.40}"
        raise argparse.ArgumentTypeError(msg)
    return key, value

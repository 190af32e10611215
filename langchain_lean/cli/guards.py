"""The guard that a command of budgets is about."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any

from langchain_lean.budgets.budget import UNITS, Budget
from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.budgets.storage import storage_from_url
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.budgets.storage.sqlite import SQLiteStorage
from langchain_lean.cli.arguments import existing
from langchain_lean.errors import ConfigurationError, LeanError

_TEXTS = ("per", "by", "name", "timezone")
_KNOWN = (*UNITS, *_TEXTS, "warn_at")


def named_guard(place: str) -> BudgetGuard:
    """The guard of an application.

    Args:
        place: `module:name`, the module as Python finds it from this folder.

    Raises:
        ConfigurationError: If there is none.
        LeanError: If the module cannot be imported.
    """
    module_name, _, name = place.partition(":")
    if not (module_name and name):
        msg = f"--guard is MODULE:NAME, such as app:guard, not {place!r:.80}."
        raise ConfigurationError(msg)
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}".rstrip(".")
        msg = f"The module {module_name!r:.80} cannot be imported: {why}."
        raise LeanError(" ".join(msg.split())) from error
    try:
        guard = attrgetter(name)(module)
    except AttributeError:
        msg = f"There is no {name!r:.80} in the module {module_name!r:.80}."
        raise ConfigurationError(msg) from None
    if not isinstance(guard, BudgetGuard):
        msg = f"{place!r:.80} is no BudgetGuard but of type {type(guard).__name__}."
        raise ConfigurationError(msg)
    return _shared(guard)


def built_guard(url: str, budgets: Sequence[str], namespace: str | None) -> BudgetGuard:
    """A guard of budgets that are told by their arguments.

    Args:
        url: Where they are counted.
        budgets: For each its arguments, such as `usd=1.00 per=day by=user_id`.
        namespace: What keeps them apart from others on a server; `lean` if not given.

    Raises:
        ConfigurationError: If something of this makes no sense.
        StorageError: If a file is not there.
    """
    storage = storage_from_url(url, namespace=namespace or "lean")
    if namespace and isinstance(storage, SQLiteStorage):
        msg = "A SQLite file has no namespaces; leave --namespace out."
        raise ConfigurationError(msg)
    return _shared(BudgetGuard(*map(told_budget, budgets), store=storage))


def told_budget(text: str) -> Budget:
    """The budget that a text tells the arguments of.

    Args:
        text: Such as `usd=1.00 per=day by=user_id`; `by=user_id,model` for several,
            `usd=none` for no limit.

    Raises:
        ConfigurationError: If it makes no sense.
    """
    try:
        pairs = [part.partition("=") for part in shlex.split(text)]
    except ValueError:
        pairs = []
    if not pairs or any(not (found and value) for _, found, value in pairs):
        msg = (
            f"--budget takes the arguments of a Budget, such as "
            f"'usd=1.00 per=day by=user_id', not {text!r:.80}."
        )
        raise ConfigurationError(msg)
    told = {name: value for name, _, value in pairs}
    if len(told) < len(pairs):
        msg = f"An argument stands twice in the budget {text!r:.80}; give one value."
        raise ConfigurationError(msg)
    if unknown := sorted(told.keys() - set(_KNOWN)):
        known = ", ".join(_KNOWN)
        msg = f"A budget has no {unknown[0]!r:.40}; it has {known}."
        raise ConfigurationError(msg)
    if "per" not in told:
        msg = f"A budget needs per=, such as per=day, in {text!r:.80}."
        raise ConfigurationError(msg)
    return Budget(**_values(told))


def _values(told: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in told.items():
        if name in UNITS:
            values[name] = _limit(name, value)
        elif name == "by":
            values[name] = tuple(value.split(","))
        elif name == "warn_at":
            values[name] = _share(value)
        else:
            values[name] = value
    return values


def _limit(unit: str, value: str) -> str | int | None:
    """None for no limit; dollars as text, counts as integers."""
    if value.lower() == "none":
        return None
    if unit != "usd" and value.replace("_", "").isdecimal():
        return int(value)
    return value


def _share(value: str) -> float | str | None:
    if value.lower() == "none":
        return None
    try:
        return float(value)
    except ValueError:
        return value


def _shared(guard: BudgetGuard) -> BudgetGuard:
    """A guard whose counts another process can see.

    Raises:
        ConfigurationError: If they are in the memory of its own.
        StorageError: If its file is not there.
    """
    if isinstance(guard.storage, MemoryStorage):
        msg = (
            "This guard counts in the memory of its own process (memory://), where "
            "nobody else can look; give it a store such as sqlite:///quota.db."
        )
        raise ConfigurationError(msg)
    if isinstance(guard.storage, SQLiteStorage):
        existing(guard.storage.path, "file of budgets")
    return guard

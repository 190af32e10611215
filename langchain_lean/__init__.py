"""Know what a LangChain application spends, keep it inside a budget, and spend less.

Names are loaded when they are first used, so importing the package costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_lean.accounting.attribution import scope
    from langchain_lean.accounting.ledger import TokenLedger, track
    from langchain_lean.accounting.metered import MeteredEmbeddings
    from langchain_lean.accounting.prices.book import PriceBook
    from langchain_lean.accounting.reporting import report_saving
    from langchain_lean.accounting.tokens.counter import TokenCounter
    from langchain_lean.accounting.usage import TokenUsage
    from langchain_lean.budgets.alarms import SpendAlarm
    from langchain_lean.budgets.budget import Budget
    from langchain_lean.budgets.errors import BudgetExceededError
    from langchain_lean.budgets.guard import BudgetGuard
    from langchain_lean.caching.cache import SemanticCache
    from langchain_lean.context.examples import BudgetExampleSelector
    from langchain_lean.context.memory import SummaryMemory
    from langchain_lean.context.prefix import PrefixMonitor
    from langchain_lean.context.retriever import BudgetRetriever
    from langchain_lean.embeddings import local_embeddings
    from langchain_lean.errors import LeanError, UnpricedModelError
    from langchain_lean.graph import build_lean_graph
    from langchain_lean.routing.router import EscalationRouter
    from langchain_lean.routing.steps import StepCap
    from langchain_lean.whatif import what_if

__all__ = [
    "Budget",
    "BudgetExampleSelector",
    "BudgetExceededError",
    "BudgetGuard",
    "BudgetRetriever",
    "EscalationRouter",
    "LeanError",
    "MeteredEmbeddings",
    "PrefixMonitor",
    "PriceBook",
    "SemanticCache",
    "SpendAlarm",
    "StepCap",
    "SummaryMemory",
    "TokenCounter",
    "TokenLedger",
    "TokenUsage",
    "UnpricedModelError",
    "build_lean_graph",
    "local_embeddings",
    "report_saving",
    "scope",
    "track",
    "what_if",
]

_HOMES = {
    "Budget": "budgets.budget",
    "BudgetExampleSelector": "context.examples",
    "BudgetExceededError": "budgets.errors",
    "BudgetGuard": "budgets.guard",
    "BudgetRetriever": "context.retriever",
    "EscalationRouter": "routing.router",
    "LeanError": "errors",
    "MeteredEmbeddings": "accounting.metered",
    "PrefixMonitor": "context.prefix",
    "PriceBook": "accounting.prices.book",
    "SemanticCache": "caching.cache",
    "SpendAlarm": "budgets.alarms",
    "StepCap": "routing.steps",
    "SummaryMemory": "context.memory",
    "TokenCounter": "accounting.tokens.counter",
    "TokenLedger": "accounting.ledger",
    "TokenUsage": "accounting.usage",
    "UnpricedModelError": "errors",
    "build_lean_graph": "graph",
    "local_embeddings": "embeddings",
    "report_saving": "accounting.reporting",
    "scope": "accounting.attribution",
    "track": "accounting.ledger",
    "what_if": "whatif",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("langchain-lean-ai")
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""The levers of this package as middleware for `langchain.agents.create_agent`.

Each is a thin shell around the part it is given: the part decides, the middleware asks
what is below it. `lean_middleware` puts them in order. They need the `agents` extra.
"""

from langchain_lean.errors import ConfigurationError

try:
    import langchain.agents.middleware  # noqa: F401 - to say what to install
except ImportError as error:
    msg = (
        "Middleware for agents needs the 'agents' extra: "
        "pip install 'langchain-lean-ai[agents]'."
    )
    raise ConfigurationError(msg) from error

from langchain_lean.middleware.budget import BudgetMiddleware, WhenOver
from langchain_lean.middleware.cache import LeanCacheMiddleware
from langchain_lean.middleware.escalation import EscalationMiddleware
from langchain_lean.middleware.memory import SummaryMemoryMiddleware
from langchain_lean.middleware.prefix import PromptCacheMiddleware
from langchain_lean.middleware.stack import lean_middleware
from langchain_lean.middleware.steps import StepCapMiddleware

__all__ = [
    "BudgetMiddleware",
    "EscalationMiddleware",
    "LeanCacheMiddleware",
    "PromptCacheMiddleware",
    "StepCapMiddleware",
    "SummaryMemoryMiddleware",
    "WhenOver",
    "lean_middleware",
]

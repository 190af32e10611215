"""How many tokens a call will use."""

from langchain_lean.accounting.tokens.counter import TokenCounter

__all__ = ["TokenCounter"]

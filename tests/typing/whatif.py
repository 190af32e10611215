"""How the names of what-if are used, for mypy: never run."""

from decimal import Decimal
from typing import Any, assert_type

from langchain_core.embeddings import Embeddings
from rich.console import Console

from langchain_lean import TokenLedger
from langchain_lean.whatif import Lever, Saved, Sure, WhatIf, what_if


def by_default(ledger: TokenLedger) -> None:
    found = what_if(ledger)
    assert_type(found, WhatIf)
    assert_type(found.levers, tuple[Lever, ...])
    assert_type(found.together, Saved)
    assert_type(found.spent, Decimal)
    assert_type(found.priced, bool)
    assert_type(found.older, int)
    assert_type(found.to_dict(), dict[str, Any])
    Console().print(found)


def with_options(ledger: TokenLedger, embeddings: Embeddings) -> None:
    found = what_if(
        ledger,
        max_docs=3,
        max_doc_tokens=400,
        max_tokens=1_200,
        memory_tokens=4_000,
        keep_tokens=1_500,
        max_summary_tokens=400,
        cheap=("claude-haiku-4-5", "anthropic"),
        acceptance=0.7,
        embeddings=embeddings,
        threshold=0.9,
        tenant_by="user_id",
        tool_calls=True,
        output_cap=500,
        max_calls=1_000,
        on_progress=lambda done: print(f"{done:.0%}"),
    )
    lever = found["top-k"]
    assert_type(lever.sure, Sure)
    assert_type(lever.alone.dollars, Decimal)
    assert_type(lever.added.tokens, int)
    assert_type(found.share(lever.alone), float | None)
    assert_type(found.per_1000_calls(lever.alone), tuple[int, Decimal])
    assert_type(found.missing.get("cheap first"), str | None)
    what_if(ledger, cheap="gpt-5-mini", acceptance=1)

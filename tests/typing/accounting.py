"""How the accounting names are used, for mypy: never run."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, assert_type

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from matplotlib.figure import Figure

from langchain_lean import (
    LeanError,
    MeteredEmbeddings,
    PriceBook,
    TokenCounter,
    TokenLedger,
    TokenUsage,
    UnpricedModelError,
    local_embeddings,
    report_saving,
    scope,
    track,
)
from langchain_lean.accounting.entry import LedgerEntry, Totals
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.accounting.reporting import report_notice


def ledger() -> None:
    with TokenLedger("sqlite:///lean.db", keep_text=True) as ledger:
        config: RunnableConfig = {"callbacks": [ledger]}
        assert_type(ledger.entries(), Iterator[LedgerEntry])
        assert_type(ledger.totals(), Totals)
        assert_type(ledger.totals(by="node"), dict[str | None, Totals])
        by = ledger.totals(by=("model", "day"))
        assert_type(by, dict[tuple[str | None, ...], Totals])
        assert_type(ledger.totals().cost, Decimal)
        assert_type(ledger.savings().total, Decimal)
        assert_type(ledger.notices(), Iterator[Notice])
        assert_type(ledger.anatomy().shares(), dict[str, float])
        ledger.feedback("run", good=True)
        entry = ledger.record(model="m", usage=TokenUsage(input=1))
        assert_type(entry, LedgerEntry)
        assert_type(ledger.report().to_dict(), dict[str, Any])
        assert_type(ledger.plot(), Figure)
        ledger.plot("timeline").savefig("timeline.png")
        print(ledger.report(), config)


def tracking() -> None:
    with track() as ledger, scope(user_id="ada", team="search"):
        assert_type(ledger, TokenLedger)


def prices() -> None:
    book = PriceBook().with_price("my-model", input="0.15", output=Decimal("0.6"))
    try:
        cost = book.cost(TokenUsage(input=10), "my-model")
    except UnpricedModelError as error:
        assert_type(error.model, str)
    except LeanError:
        raise
    else:
        assert_type(cost, Cost)


def counts(messages: list[BaseMessage]) -> None:
    counter = TokenCounter()
    assert_type(counter.count("text", model="gpt-5"), int)
    assert_type(counter.upper_bound([HumanMessage("text")]), int)
    assert_type(counter(messages), int)
    counter.observe(messages, "gpt-5", 12)


def usage(message: AIMessage) -> None:
    assert_type(TokenUsage.from_message(message), TokenUsage | None)
    assert_type(TokenUsage(input=1) + TokenUsage(output=1), TokenUsage)


def saving() -> None:
    report_saving(
        "retriever",
        avoided=TokenUsage(input=4000),
        model="gpt-5",
        baseline="20 whole documents",
    )


def notice() -> None:
    report_notice("retriever", action="skipped", reason="it failed: TimeoutError")


def embeddings(ledger: TokenLedger) -> None:
    local: Embeddings = local_embeddings()
    assert_type(MeteredEmbeddings(local, ledger).embed_query("text"), list[float])

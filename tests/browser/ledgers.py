"""Ledgers to look at: one as an application fills it, and others hard to show."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from langchain_core.messages import HumanMessage, SystemMessage

from langchain_lean import PriceBook, TokenLedger, TokenUsage
from langchain_lean.accounting.anatomy import Anatomy
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.reporting import report_notice, report_saving
from langchain_lean.accounting.store import Batch
from langchain_lean.testing import ExtractiveChatModel

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
USERS = ("ada", "barbara", "grace", "linus", "alan")
MODELS = ("claude-haiku-4-5", "claude-haiku-4-5", "claude-sonnet-4-5")
MANUAL = (
    "A parcel can be sent back within 30 days.",
    "Refunds take five working days to reach your account.",
    "Deliveries to islands take two days longer.",
    "Invoices are in your account, under orders.",
)
LEVERS = (
    *("retriever", "routing", "cache", "memory", "output", "prefix", "examples"),
    *("step_cap", "tools", "concise", "early_stop", "guard"),
)
LONG = (
    "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/"
    "a1b2c3d4e5f6-and-a-name-that-somebody-made-longer-than-any-table-is-wide"
)
MARKUP = '<script>alert("spent")</script><img src=x onerror=alert(1)>'


def help_desk() -> TokenLedger:
    """What stand-ins spent on a help desk's questions, and what levers saved."""
    ledger = TokenLedger(keep_text=True)
    for number, user in enumerate(USERS * 4):
        model = ExtractiveChatModel(model_name=MODELS[number % 3], provider="anthropic")
        question = f"Question: {MANUAL[number % 4].split(' ')[0]}, how long?"
        model.invoke(
            [SystemMessage(f"Answer from: {' '.join(MANUAL)}"), HumanMessage(question)],
            {"callbacks": [ledger], "metadata": {"user_id": user}},
        )
    save(
        ledger, "retriever", 48_000, model="claude-sonnet-4-5", baseline="20 documents"
    )
    save(ledger, "cache", 9_000, model="claude-sonnet-4-5", kind="exact")
    tell(ledger, "memory", "left out 4 messages", "the summary was full")
    return ledger


def save(ledger: TokenLedger, lever: str, tokens: int, **fields: object) -> None:
    """Report what a lever saved to a ledger."""
    avoided = TokenUsage(input=tokens)
    report_saving(lever, **{"avoided": avoided, "callbacks": ledger, **fields})


def tell(ledger: TokenLedger, lever: str, action: str, reason: str) -> None:
    """Tell a ledger what a lever did that an answer may be worse for."""
    report_notice(lever, action=action, reason=reason, callbacks=ledger)


def recorded(*calls: dict[str, object]) -> TokenLedger:
    """A ledger that holds calls with the given fields, in dollars a thousand tokens."""
    prices = PriceBook()
    for model in {str(call.get("model", "priced")) for call in calls}:
        if model != "unpriced":
            prices = prices.with_price(model, input=1000, output=2000)
    ledger = TokenLedger(prices=prices)
    usage = TokenUsage(input=81_234, output=12_345, cache_read=40_617)
    parts = dict.fromkeys(Anatomy().parts(), 10_000)
    entries = [
        LedgerEntry(
            **{
                "run_id": f"run {number}",
                "trace_id": f"trace {number}",
                "model": "priced",
                "usage": usage,
                "anatomy": Anatomy(**parts),
                "start": START + timedelta(minutes=number),
                "seconds": 1.0 + number,
                **call,
            }
        )
        for number, call in enumerate(calls)
    ]
    ledger.store.add(Batch(entries=entries))
    return ledger


def empty() -> TokenLedger:
    return TokenLedger()


def long_names() -> TokenLedger:
    ledger = recorded(
        {"model": LONG, "node": LONG[::-1], "user_id": f"{LONG}@example.org"},
        {"model": "W" * 300, "node": "a node " * 40, "user_id": "W" * 25},
    )
    save(ledger, LONG, 1000, model=LONG, baseline="what was there before " * 12)
    save(ledger, "W" * 80, 1000, model=LONG, baseline=LONG)
    tell(ledger, LONG, "left out everything", LONG * 3)
    return ledger


def two_hundred_users() -> TokenLedger:
    return recorded(*({"user_id": f"user-{number:03}"} for number in range(200)))


def other_scripts() -> TokenLedger:
    """Names from right to left, with emoji, combined characters and wide ones."""
    return recorded(
        {"user_id": "مستخدم من القاهرة", "node": "תשובה"},
        {"user_id": "👩‍👩‍👧‍👦 family 🏳️‍🌈", "node": "🤖"},
        {
            "user_id": "日本語の長い名前を持つ利用者の部署と役職まで含めた表記",
            "node": "検索",
        },
        {"user_id": "Z̷̧͈͎̾a̸͖̍l̴̺̆g̵̡̈́o̶̜͒", "node": "ﷺ"},
    )


def markup() -> TokenLedger:
    ledger = recorded({"model": MARKUP, "node": MARKUP, "user_id": MARKUP})
    save(ledger, MARKUP, 1000, model=MARKUP, baseline=MARKUP)
    tell(ledger, MARKUP, MARKUP, MARKUP)
    return ledger


def unpriced() -> TokenLedger:
    ledger = recorded(
        {"model": "unpriced", "user_id": "ada"},
        {"user_id": "ada"},
        {"model": "unpriced", "source": "judge"},
        {"user_id": "bob", "failed": True},
    )
    save(ledger, "cache", 1000, model="unpriced", kind="exact")
    return ledger


def many_levers() -> TokenLedger:
    """As many levers as there are, some at a loss, with amounts of every size."""
    ledger = recorded({}, {"source": "judge"})
    for size, lever in enumerate(LEVERS):
        save(ledger, lever, 7 * 3**size, model="priced", baseline=f"no {lever} at all")
        save(ledger, lever, 5 * 2**size, model="priced", kind="exact")
    loss = TokenUsage(output=90_000)
    save(ledger, "guard", 0, model="priced", spent=loss, baseline="no guard at all")
    return ledger


def many_notices() -> TokenLedger:
    ledger = recorded({})
    for lever in LEVERS:
        tell(
            ledger, lever, "left out 12 documents", f"the budget of {lever} was used up"
        )
    return ledger


def large() -> TokenLedger:
    """Sums that are wider than most."""
    whole = TokenUsage(input=98_765_432_109, output=12_345_678_901)
    ledger = recorded({"usage": whole, "user_id": "ada", "node": "answer"})
    save(ledger, "cache", 98_765_432_109, model="priced", kind="exact")
    save(ledger, "routing", 98_765_432_109, model="priced", baseline="nothing")
    return ledger


LEDGERS: dict[str, Callable[[], TokenLedger]] = {
    made.__name__: made
    for made in (
        *(help_desk, empty, long_names, two_hundred_users, other_scripts, markup),
        *(unpriced, many_levers, many_notices, large),
    )
}

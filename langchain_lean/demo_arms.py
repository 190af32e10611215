"""The help desk of the demo, in the ways it can be run.

Values in, values out: an arm is a graph and a ledger, a result its answers and figures.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.ledger import TokenLedger, track
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.data import Line, Report
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.demo_data import EMBEDDINGS, Chat, Question
from langchain_lean.models import ls_params
from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.router import EscalationRouter

MAX_TOKENS = 1_000
"""Tokens from which the lean arm's memory makes a chat shorter; an answer has 100."""

KEEP_TOKENS = 400
"""Tokens of the newest turns it then leaves as they are."""

MAX_SUMMARY_TOKENS = 300
"""Tokens its notes may have."""

_CHUNKS = 20
_SAID = re.compile(
    r"^([0-9a-f]{8}) human: (.+?)(?=\n\1 |\n</)", re.DOTALL | re.MULTILINE
)
_NAMES = re.compile(r"[a-z_]\w*\.[a-z_]\w*|\w\(|`", re.IGNORECASE)
_RULES = (
    "You staff the help desk for Python. Name whichever part solves it, "
    "then explain it briefly. Rely on the documentation alone."
)


class HelpState(MessagesState):
    """What a help desk's graph carries: the chat, and what it looked up last."""

    documents: list[Document]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run the help desk.

    Attributes:
        name: What it is called.
        graph: Takes a user's message, and ends on the answer; keeps its threads.
        ledger: Accounts for it.
    """

    name: str
    graph: CompiledStateGraph[HelpState, None, HelpState, HelpState]
    ledger: TokenLedger


@dataclass(frozen=True, slots=True)
class Answer:
    """What the help desk said.

    Attributes:
        question: What it was asked.
        text: Its answer.
        right: Whether that names what the question is about.
    """

    question: Question
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class ArmResult:
    """How an arm did.

    Attributes:
        name: The arm.
        answers: Its answers, in the order they were asked for.
        report: What they took.
    """

    name: str
    answers: tuple[Answer, ...]
    report: Report

    @property
    def right(self) -> int:
        """How many answers name what their question is about."""
        return sum(answer.right for answer in self.answers)

    @property
    def to_recall(self) -> int:
        """How many questions are about what the user said earlier."""
        return sum(answer.question.recalls for answer in self.answers)

    @property
    def recalled(self) -> int:
        """How many of those are answered right."""
        return sum(answer.right and answer.question.recalls for answer in self.answers)

    @property
    def seconds(self) -> float:
        """Within how many seconds half of the answers were given."""
        parts = {part.part: part.p50 for part in self.report.latency}
        return parts.get("whole run", 0.0)

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        report, savings = self.report, self.report.savings
        shares = report.total.anatomy.shares()
        return {
            "arm": self.name,
            "questions": len(self.answers),
            "right": self.right,
            "to_recall": self.to_recall,
            "recalled": self.recalled,
            **_sums(report.total),
            "saved_usd": exact(savings.total),
            "saved_by_lever": {k: exact(v.total) for k, v in savings.levers.items()},
            "own_cost_usd": {k: exact(v) for k, v in savings.own_cost.items()},
            "shares": {k: round(v, 4) for k, v in shares.items()},
            "by_model": _by_name(report.models),
            "by_node": _by_name(report.nodes),
            "by_user": _by_name(report.users),
            "seconds_p50": {part.part: part.p50 for part in report.latency},
        }


def naive_arm(model: BaseChatModel, index: VectorStore) -> Arm:
    """Build the help desk as people build it first.

    Args:
        model: Answers every question.
        index: Where to look things up.

    Returns:
        A graph of two nodes, `retrieve` and `answer`, with a ledger in memory.
    """
    return _arm("naive", model, _whole_documents(index))


def lean_arm(
    model: BaseChatModel,
    summarizer: BaseChatModel,
    index: VectorStore,
    documents: Sequence[Document],
    *,
    cheap: BaseChatModel | None = None,
    cache: SemanticCache | None = None,
) -> Arm:
    """Build the help desk with a cache, a retriever, a memory and a router.

    All else is as in the naive arm.

    Args:
        model: Answers what `cheap` does not, and has the price of what is saved.
        summarizer: Takes the memory's notes.
        index: Where to look things up, by meaning.
        documents: What is in the index, to look up by words.
        cheap: Answers first; None for no router.
        cache: Answers what was asked before; None for none.

    Returns:
        A graph of the nodes `retrieve`, `memory` and `answer`, with those of the cache
        around them, and a ledger in memory, which counts savings against the documents
        of the naive arm and against whole chats.

    Raises:
        ConfigurationError: If the model does not say its name, or the `local` extra is
            not installed.
    """
    said = ls_params(model)
    retriever = BudgetRetriever(
        retriever=_whole_documents(index),
        baseline_docs=_CHUNKS,
        model=said.get("ls_model_name"),
        provider=said.get("ls_provider"),
    )
    memory = SummaryMemory(
        summarizer,
        answer_model=cheap or model,
        max_tokens=MAX_TOKENS,
        keep_tokens=KEEP_TOKENS,
        max_summary_tokens=MAX_SUMMARY_TOKENS,
    )
    answering: Runnable[Any, Any] = model
    if cheap is not None:
        policy = AnswerChecks(checks=[names_no_part])
        answering = EscalationRouter({"cheap": cheap, "strong": model}, policy=policy)
    nodes = None if cache is None else cache.nodes("help desk")
    return _arm("lean", answering, retriever.with_lexical(documents), memory, nodes)


def names_no_part(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
    """Check that an answer of the help desk names something of the library.

    Args:
        messages: What was asked.
        answer: The answer.

    Returns:
        What is wrong; None where it has a dotted name, a call or code in backticks.
    """
    return None if _NAMES.search(answer.text) else "it names no part of the library"


def what_users_said(messages: Sequence[BaseMessage]) -> str:
    """The notes of a stand-in: all that users said, word by word, and no answer.

    Args:
        messages: What the memory asks a summarizer.
    """
    said = _SAID.finditer(str(messages[-1].text))
    return "\n".join(match[2] for match in said)


def _whole_documents(index: VectorStore) -> BaseRetriever:
    return index.as_retriever(search_kwargs={"k": _CHUNKS})


def _arm(
    name: str,
    model: Runnable[Any, Any],
    retriever: BaseRetriever,
    memory: SummaryMemory | None = None,
    cache: CacheNodes | None = None,
) -> Arm:
    """Build the help desk around a retriever, with a memory and a cache or without."""

    def retrieve(state: HelpState) -> dict[str, Any]:
        return {"documents": retriever.invoke(str(state["messages"][-1].text))}

    def answer(state: HelpState) -> dict[str, Any]:
        *history, question = state["messages"]
        pages = "\n\n".join(page.page_content for page in state["documents"])
        asked = HumanMessage(f"Documentation:\n\n{pages}\n\nQuestion: {question.text}")
        return {"messages": model.invoke([SystemMessage(_RULES), *history, asked])}

    graph = StateGraph(HelpState)
    nodes: list[Any] = [("retrieve", retrieve), ("answer", answer)]
    if memory:
        nodes.insert(1, ("memory", memory))
    if cache:
        nodes.append(("keep", cache.write))
        graph.add_node("cache", cache.read)
        ways: dict[Hashable, str] = {"hit": END, "miss": "retrieve"}
        graph.add_conditional_edges("cache", cache.route, ways)
    graph.add_sequence(nodes)
    graph.set_entry_point("cache" if cache else "retrieve")
    prices = PriceBook().with_price(EMBEDDINGS, input=0, output=0)
    return Arm(name, graph.compile(InMemorySaver()), TokenLedger(prices=prices))


def run_arm(
    arm: Arm,
    chats: Iterable[Chat],
    *,
    on_answer: Callable[[Answer], object] = lambda answer: None,
) -> ArmResult:
    """Hold chats with a help desk, one after the other.

    Args:
        arm: The help desk.
        chats: The chats; their threads must be new to it.
        on_answer: Told of every answer.

    Returns:
        The answers, and what they took.
    """
    answers = []
    with track(arm.ledger):
        for chat in chats:
            config = RunnableConfig(
                configurable={"thread_id": chat.thread_id},
                metadata={"user_id": chat.user_id},
            )
            for question in chat.questions:
                asked = HelpState(messages=[HumanMessage(question.text)], documents=[])
                text = str(arm.graph.invoke(asked, config)["messages"][-1].text)
                answers.append(Answer(question, text, question.answered_by(text)))
                on_answer(answers[-1])
    return ArmResult(arm.name, tuple(answers), arm.ledger.report())


def exact(dollars: Decimal) -> str:
    """Dollars as text, to the last digit."""
    return f"{dollars.normalize():f}"


def _by_name(lines: Iterable[Line]) -> dict[str, Any]:
    return {line.name: _sums(line.totals) for line in lines}


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "input_tokens": totals.usage.input,
        "output_tokens": totals.usage.output,
        "usd": exact(totals.cost),
    }

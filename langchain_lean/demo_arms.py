"""The help desk of the demo, in the ways it can be run.

Values in, values out: an arm is a graph and a ledger, a result its answers and figures.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.ledger import TokenLedger, track
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.data import Line, Report
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.demo_data import EMBEDDINGS, Chat, Question
from langchain_lean.models import ls_params

_CHUNKS = 20
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
    def seconds(self) -> float:
        """Within how many seconds half of the answers were given."""
        parts = {part.part: part.p50 for part in self.report.latency}
        return parts.get("whole run", 0.0)

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        report = self.report
        shares = report.total.anatomy.shares()
        return {
            "arm": self.name,
            "questions": len(self.answers),
            "right": self.right,
            **_sums(report.total),
            "saved_usd": _exact(report.savings.total),
            "shares": {k: round(v, 4) for k, v in shares.items()},
            "by_model": _by_name(report.models),
            "by_node": _by_name(report.nodes),
            "by_user": _by_name(report.users),
            "seconds_p50": {part.part: part.p50 for part in report.latency},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms that were asked the same.

    Attributes:
        naive: The arm to compare with.
        lean: The arm that is compared.
    """

    naive: ArmResult
    lean: ArmResult

    @property
    def saved(self) -> Decimal | None:
        """What the lean arm cost less, in dollars; None where a call has no price."""
        naive, lean = self.naive.report.total, self.lean.report.total
        unpriced = naive.unpriced or lean.unpriced
        return None if unpriced else naive.cost - lean.cost

    @property
    def share(self) -> float | None:
        """That as a share of what the naive arm cost; None where that is nothing."""
        cost = self.naive.report.total.cost
        return None if self.saved is None or not cost else float(self.saved / cost)

    @property
    def claimed(self) -> Decimal:
        """What the ledger of the lean arm says was saved, in dollars."""
        return self.lean.report.savings.total

    @property
    def lost(self) -> tuple[Question, ...]:
        """What the naive arm alone answers right."""
        return _right_in_the_first_alone(self.naive, self.lean)

    @property
    def gained(self) -> tuple[Question, ...]:
        """What the lean arm alone answers right."""
        return _right_in_the_first_alone(self.lean, self.naive)

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        return {
            "usd": None if self.saved is None else _exact(self.saved),
            "share": None if self.share is None else round(self.share, 4),
            "claimed_usd": _exact(self.claimed),
            "lost": [question.text for question in self.lost],
            "gained": [question.text for question in self.gained],
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
    model: BaseChatModel, index: VectorStore, documents: Sequence[Document]
) -> Arm:
    """Build the help desk with a `BudgetRetriever`, all else as in the naive arm.

    Args:
        model: Answers every question, and has the price of what is saved.
        index: Where to look things up, by meaning.
        documents: What is in the index, to look up by words.

    Returns:
        A graph of two nodes, `retrieve` and `answer`, with a ledger in memory, which
        counts savings against the documents of the naive arm.

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
    return _arm("lean", model, retriever.with_lexical(documents))


def _whole_documents(index: VectorStore) -> BaseRetriever:
    return index.as_retriever(search_kwargs={"k": _CHUNKS})


def _arm(name: str, model: BaseChatModel, retriever: BaseRetriever) -> Arm:
    """Build the help desk around a retriever."""

    def retrieve(state: HelpState) -> dict[str, Any]:
        return {"documents": retriever.invoke(str(state["messages"][-1].text))}

    def answer(state: HelpState) -> dict[str, Any]:
        *history, question = state["messages"]
        pages = "\n\n".join(page.page_content for page in state["documents"])
        asked = HumanMessage(f"Documentation:\n\n{pages}\n\nQuestion: {question.text}")
        return {"messages": model.invoke([SystemMessage(_RULES), *history, asked])}

    graph = StateGraph(HelpState)
    graph.add_node("retrieve", retrieve)
    graph.add_node("answer", answer)
    graph.set_entry_point("retrieve")
    graph.add_edge("retrieve", "answer")
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


def _by_name(lines: Iterable[Line]) -> dict[str, Any]:
    return {line.name: _sums(line.totals) for line in lines}


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "input_tokens": totals.usage.input,
        "output_tokens": totals.usage.output,
        "usd": _exact(totals.cost),
    }


def _exact(dollars: Decimal) -> str:
    return f"{dollars.normalize():f}"


def _right_in_the_first_alone(
    first: ArmResult, second: ArmResult
) -> tuple[Question, ...]:
    pairs = zip(first.answers, second.answers, strict=True)
    return tuple(a.question for a, b in pairs if a.right and not b.right)

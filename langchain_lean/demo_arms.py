"""The help desk of the demo, in the ways it can be run.

Values in, values out: an arm is a graph and a ledger, a result its answers and figures.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.ledger import TokenLedger, track
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.data import Line, Report
from langchain_lean.demo_data import EMBEDDINGS, Chat, Question

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

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        report = self.report
        shares = report.total.anatomy.shares()
        return {
            "arm": self.name,
            "questions": len(self.answers),
            "right": self.right,
            **_sums(report.total),
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
    retriever = index.as_retriever(search_kwargs={"k": _CHUNKS})

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
    return Arm("naive", graph.compile(InMemorySaver()), TokenLedger(prices=prices))


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
        "usd": f"{totals.cost.normalize():f}",
    }

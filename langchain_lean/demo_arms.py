"""The help desk of the demo, in the ways it can be run: a graph and a ledger each."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from langchain_lean.accounting.ledger import TokenLedger, track
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.store import SQLiteStore
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.context.prefix import before_question
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.demo_chats import Chat, Question
from langchain_lean.demo_data import EMBEDDINGS, signature
from langchain_lean.demo_results import Answer, ArmResult
from langchain_lean.demo_time import SimulatedTime
from langchain_lean.embeddings import local_embeddings
from langchain_lean.graph import LeanGraph, build_lean_graph
from langchain_lean.models import ls_params
from langchain_lean.routing.policies import AnswerChecks

MAX_TOKENS = 1_000
"""Tokens from which the lean arm's memory makes a chat shorter; an answer has 100."""

KEEP_TOKENS = 400
"""Tokens of the newest turns it then leaves as they are."""

MAX_SUMMARY_TOKENS = 300
"""Tokens its notes may have."""

_CHUNKS = 20
_NAMES = re.compile(r"[a-z_]\w*\.[a-z_]\w*|\w\(|`", re.IGNORECASE)
_RULES = (
    "You staff the help desk for Python. Name whichever part solves it, "
    "then explain it briefly. Rely on the documentation and your tools alone."
)


class HelpState(MessagesState):
    """What the naive graph carries: the chat, and what it looked up last."""

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
    graph: LeanGraph
    ledger: TokenLedger


def naive_arm(
    model: BaseChatModel,
    index: VectorStore,
    time: SimulatedTime | None = None,
    file: Path | None = None,
) -> Arm:
    """Build the help desk as people build it first.

    Args:
        model: Answers every question, with 20 documents and the whole chat in front of
            it, and calls the tool.
        index: Where to look things up.
        time: What its ledger reads; the machine's clock if not given.
        file: Where its ledger keeps calls and texts; in memory, without texts, if not
            given.

    Returns:
        A graph of the nodes `retrieve`, `answer` and `tools`, with a ledger.
    """
    tools = [signature]
    asked, retriever = model.bind_tools(tools), _whole_documents(index)

    async def retrieve(state: HelpState) -> dict[str, Any]:
        question = str(state["messages"][-1].text)
        return {"documents": await retriever.ainvoke(question)}

    async def answer(state: HelpState) -> dict[str, Any]:
        chat = [SystemMessage(_RULES), *state["messages"]]
        prompt = before_question(chat, state["documents"])
        return {"messages": await asked.ainvoke(prompt)}

    graph = StateGraph(HelpState)
    graph.add_sequence([("retrieve", retrieve), ("answer", answer)])
    graph.add_node("tools", ToolNode(tools))
    graph.set_entry_point("retrieve")
    graph.add_conditional_edges("answer", tools_condition)
    graph.add_edge("tools", "answer")
    return _arm("naive", graph.compile(InMemorySaver()), time, file)


def lean_arm(
    strong: BaseChatModel,
    cheap: BaseChatModel,
    notes: BaseChatModel,
    index: VectorStore,
    documents: Sequence[Document],
    time: SimulatedTime | None = None,
    file: Path | None = None,
) -> Arm:
    """Build the help desk as the ready graph, with a memory, a retriever and a cache.

    Args:
        strong: Answers what `cheap` does not, and has the price of what is saved.
        cheap: Says what is needed, and answers first.
        notes: Takes the memory's notes.
        index: Where to look things up, by meaning.
        documents: What is in the index, to look up by words.
        time: What its ledger reads; the machine's clock if not given.
        file: As for `naive_arm`.

    Returns:
        The graph, with a ledger, which counts savings against the documents of the
        naive arm and against whole chats.

    Raises:
        ConfigurationError: If the strong model does not say its name, or the `local`
            extra is not installed.
    """
    said = ls_params(strong)
    retriever = BudgetRetriever(
        retriever=_whole_documents(index),
        baseline_docs=_CHUNKS,
        model=said.get("ls_model_name"),
        provider=said.get("ls_provider"),
    )
    memory = SummaryMemory(
        notes,
        answer_model=cheap,
        max_tokens=MAX_TOKENS,
        keep_tokens=KEEP_TOKENS,
        max_summary_tokens=MAX_SUMMARY_TOKENS,
    )
    graph = build_lean_graph(
        cheap,
        strong,
        retriever=retriever.with_lexical(documents),
        tools=[signature],
        cache=SemanticCache(local_embeddings(), tool_calls=True, **_clocks(time)),
        memory=memory,
        verify=AnswerChecks(checks=[names_no_part]),
        system_prompt=_RULES,
        checkpointer=InMemorySaver(),
    )
    return _arm("lean", graph, time, file)


def names_no_part(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
    """Check that an answer of the help desk names something of the library.

    Args:
        messages: What was asked.
        answer: The answer.

    Returns:
        What is wrong; None where it has a dotted name, a call or code in backticks.
    """
    return None if _NAMES.search(answer.text) else "it names no part of the library"


def _whole_documents(index: VectorStore) -> BaseRetriever:
    return index.as_retriever(search_kwargs={"k": _CHUNKS})


def _arm(
    name: str, graph: LeanGraph, time: SimulatedTime | None, file: Path | None
) -> Arm:
    prices = PriceBook().with_price(EMBEDDINGS, input=0, output=0)
    ledger = TokenLedger(
        "memory://" if file is None else SQLiteStore(file),
        prices=prices,
        keep_text=file is not None,
        **_clocks(time),
    )
    return Arm(name, graph, ledger)


def _clocks(time: SimulatedTime | None) -> dict[str, Any]:
    return {} if time is None else {"clock": time.clock, "timer": time.timer}


async def run_arm(
    arm: Arm,
    chats: Iterable[Chat],
    *,
    on_answer: Callable[[Answer], object] = lambda answer: None,
) -> ArmResult:
    """Hold chats with a help desk, one after the other, and see its answers come.

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
            for question in chat.questions:
                answers.append(await _answer(arm, chat, question))
                on_answer(answers[-1])
    return ArmResult(arm.name, tuple(answers), arm.ledger.report())


async def _answer(arm: Arm, chat: Chat, question: Question) -> Answer:
    config = RunnableConfig(
        configurable={"thread_id": chat.thread_id}, metadata={"user_id": chat.user_id}
    )
    asked = {"messages": [HumanMessage(question.text)]}
    timer = arm.ledger.timer
    started, first, text = timer(), None, ""
    stream: AsyncIterator[Any] = arm.graph.astream(
        asked, config, stream_mode=["messages", "values"]
    )
    async for mode, seen in stream:
        if mode == "values":
            text = str(seen["messages"][-1].text)
        elif first is None and isinstance(seen[0], AIMessage) and seen[0].text:
            first = timer()
    ended = timer()
    return Answer(question, text, (first or ended) - started, ended - started)

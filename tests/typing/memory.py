"""How the memory is used, for mypy: never run."""

from collections.abc import Iterator
from typing import Any, assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langgraph.graph import START, MessagesState, StateGraph

from langchain_lean import PriceBook, SummaryMemory, TokenCounter, TokenLedger
from langchain_lean.accounting.notices import Notice
from langchain_lean.context.memory import MemoryState


def every_option(model: BaseChatModel, strong: BaseChatModel) -> None:
    def is_order(message: BaseMessage) -> bool:
        return "order" in str(message.text)

    memory = SummaryMemory(
        model,
        max_tokens=4000,
        keep_tokens=1500,
        max_summary_tokens=400,
        pin=is_order,
        prompt="Note names and orders.",
        answer_model=strong.bind_tools([]),
        remaining_turns=10,
        always=True,
        split_last_turn=True,
        hard_limit=100_000,
        keep_history=True,
        messages_key="chat",
        short_key="sent",
        counter=TokenCounter(),
        prices=PriceBook(),
    )
    assert_type(memory, SummaryMemory)
    SummaryMemory(None, pin=lambda message: message.name == "ada")


def node(memory: SummaryMemory) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("memory", memory)
    graph.add_edge(START, "memory")
    graph.compile().invoke({"messages": [HumanMessage("Hi.")]})


def beside_the_history(model: BaseChatModel) -> None:
    def answer(state: MemoryState) -> dict[str, list[BaseMessage]]:
        assert_type(state["messages"], list[AnyMessage])
        assert_type(state["short_messages"], list[AnyMessage])
        return {"messages": [model.invoke(state["short_messages"])]}

    graph = StateGraph(MemoryState)
    graph.add_node("memory", SummaryMemory(model, keep_history=True))
    graph.add_node("answer", answer)
    graph.add_edge("memory", "answer")


async def chains(
    prompt: ChatPromptTemplate, memory: SummaryMemory, model: BaseChatModel
) -> None:
    chat = memory | model
    assert_type(chat.invoke([("user", "Hi.")]), AIMessage)
    chain = prompt | memory | model
    assert_type(await chain.ainvoke({"history": []}), AIMessage)
    as_runnable: Runnable[Any, Any] = memory
    for chunk in (as_runnable | model).stream([]):
        assert_type(chunk, AIMessage)


def ledger(memory: SummaryMemory) -> None:
    ledger = TokenLedger()
    memory.invoke([], {"callbacks": [ledger]})
    assert_type(ledger.notices(), Iterator[Notice])

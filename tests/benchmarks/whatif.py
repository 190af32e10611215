"""What levers are said to save against what they save: each switched on alone.

Run: python -m tests.benchmarks.whatif

The naive arm of the demo is asked its questions with a ledger that keeps texts, and
`what_if` says from that ledger what each lever would have saved. Then the same
questions are asked with one lever switched on after the other, and the dollars are
compared. Answers are a stand-in's, at the prices of real models.

Three levers have nothing to save on this traffic, so they are measured on others like
it: a system prompt and tools with needless text, and a model whose provider caches
prefixes of this length, played by a stand-in that reads and writes at cache points.
An agent asks the same questions with a retriever as its tool, so that the documents of
earlier turns stay in its prompts.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, create_retriever_tool, tool
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import PrivateAttr
from rich.console import Console
from rich.table import Table

from langchain_lean import (
    BudgetRetriever,
    EscalationRouter,
    PriceBook,
    SemanticCache,
    SummaryMemory,
    TokenCounter,
    TokenLedger,
    local_embeddings,
    track,
)
from langchain_lean.context.prefix import before_question, cache_points
from langchain_lean.demo_arms import naive_arm, names_no_part
from langchain_lean.demo_chats import CHATS
from langchain_lean.demo_data import EMBEDDINGS, build_index, signature
from langchain_lean.demo_models import SMALL, STRONG, HelpDeskStandIn, what_users_said
from langchain_lean.routing.policies import AnswerChecks
from langchain_lean.testing import ScriptedChatModel
from langchain_lean.whatif import WhatIf, what_if

ALLOWED = 0.10  # of what was spent, between what is said and what is saved
DOCUMENTS, FEW = 20, 3
MEMORY = {"max_tokens": 1_000, "keep_tokens": 400, "max_summary_tokens": 300}
CAP = 80
PROVIDER = "anthropic"
CHEAP, DEAR, CACHING = SMALL["standin"], STRONG["standin"], "claude-sonnet-4-5"
WORDY = (
    "You are polite and you keep to the matter at hand in all that you say. "
    "Never invent a function that the documentation does not have.   \n\n\n\n"
) * 8


class HelpState(MessagesState):
    """What the help desk carries: the chat, and what it looked up last."""

    documents: list[Document]


class CachingStandIn(HelpDeskStandIn):
    """A stand-in whose provider caches prefixes where Anthropic's marks stand."""

    _written: set[int] = PrivateAttr(default_factory=set)
    _counter: TokenCounter = PrivateAttr(default_factory=TokenCounter)

    def _usage(
        self, messages: list[BaseMessage], answer: AIMessage, tools: Any
    ) -> UsageMetadata:
        usage = super()._usage(messages, answer, tools)
        prefixes, chain = [], hash(repr(tools))
        for message in messages:
            chain = hash((chain, message.type, str(message.text)))
            prefixes.append(chain)
        marked = [i for i, message in enumerate(messages) if _is_marked(message)]
        if marked:
            known = [i for i in range(marked[-1] + 1) if prefixes[i] in self._written]
            sizes = [
                self._counter.count(
                    messages[: i + 1], model=self.model_name, tools=tools
                )
                for i in (marked[-1], *known[-1:])
            ]
            read = sizes[1] if known else 0
            usage["input_token_details"] = InputTokenDetails(
                cache_read=read, cache_creation=max(sizes[0] - read, 0)
            )
            self._written.update(prefixes[i] for i in marked)
        return usage


def _is_marked(message: BaseMessage) -> bool:
    content = message.content
    return isinstance(content, list) and any("cache_control" in b for b in content)


@tool
def exchange_rate(source: str, target: str, day: str) -> str:
    """Give the exchange rate between two currencies on a day, from the bank's table."""
    return f"{source}/{target} on {day} is not known."


@tool
def open_ticket(title: str, description: str, priority: int) -> str:
    """Open a ticket for the support team, with a title and a priority from 1 to 5."""
    return f"Ticket {title} with priority {priority}: {description}"


@dataclass(frozen=True)
class Desk:
    """A help desk with some levers switched on.

    Attributes:
        rules: Its system prompt.
        answering: Answers prompts.
        retriever: Looks things up.
        tools: Its tools.
        cache: Answers what was asked before.
        memory: Keeps chats short.
    """

    rules: str
    answering: Runnable[Any, Any]
    retriever: RetrieverLike
    tools: Sequence[BaseTool] = (signature,)
    cache: SemanticCache | None = None
    memory: SummaryMemory | None = None

    def graph(self) -> Any:
        """The graph: cache, memory, documents, answer, tools."""

        async def retrieve(state: HelpState) -> dict[str, Any]:
            question = str(state["messages"][-1].text)
            return {"documents": await self.retriever.ainvoke(question)}

        async def answer(state: HelpState) -> dict[str, Any]:
            chat = [SystemMessage(self.rules), *state["messages"]]
            prompt = before_question(chat, state["documents"])
            return {"messages": [await self.answering.ainvoke(prompt)]}

        graph: Any = StateGraph(HelpState)
        nodes = None if self.cache is None else self.cache.nodes("help desk")
        if self.memory is not None:
            graph.add_sequence([("memory", self.memory), ("retrieve", retrieve)])
        else:
            graph.add_node("retrieve", retrieve)
        first = "retrieve" if self.memory is None else "memory"
        last = END
        if nodes is not None:
            graph.add_node("cache", nodes.read)
            graph.add_node("keep", nodes.write)
            ways = {"hit": END, "miss": first}
            graph.add_conditional_edges("cache", nodes.route, ways)
            first, last = "cache", "keep"
        graph.set_entry_point(first)
        graph.add_node("answer", answer)
        graph.add_node("tools", ToolNode(self.tools))
        graph.add_edge("retrieve", "answer")
        ways = {"tools": "tools", END: last}
        graph.add_conditional_edges("answer", tools_condition, ways)
        graph.add_edge("tools", "answer")
        return graph.compile(InMemorySaver())


class Row(NamedTuple):
    """A lever: the share of the dollars it is said to save, and saves."""

    lever: str
    said: float
    real: float
    on: str = ""

    @property
    def off(self) -> float:
        """By how much, in shares of what was spent."""
        return self.said - self.real


async def _ask(graph: Any) -> None:
    for chat in CHATS:
        for question in chat.questions:
            await graph.ainvoke(
                {"messages": [HumanMessage(question.text)]},
                {
                    "configurable": {"thread_id": chat.thread_id},
                    "metadata": {"user_id": chat.user_id},
                },
            )


def recorded(graph: Any) -> TokenLedger:
    """Ask a help desk everything, and keep the texts."""
    prices = PriceBook().with_price(EMBEDDINGS, input=0, output=0)
    ledger = TokenLedger(prices=prices, keep_text=True)
    with track(ledger):
        asyncio.run(_ask(graph))
    return ledger


def saved(before: TokenLedger, after: TokenLedger) -> float:
    """The share of the dollars that is saved."""
    costs = [float(ledger.totals().cost) for ledger in (before, after)]
    return 1 - costs[1] / costs[0]


def accepted(ledger: TokenLedger) -> float:
    """The share of cheap answers that were good enough: no strong one followed."""
    calls = ledger.totals(by="model")
    return 1 - calls[DEAR].calls / calls[CHEAP].calls


class Levers:
    """The help desk of the demo, and every lever for it.

    Args:
        index: Where things are looked up.
        rules: The system prompt of the demo.
    """

    def __init__(self, index: VectorStore, rules: str) -> None:
        self._index = index
        self.strong = HelpDeskStandIn(model_name=DEAR, provider=PROVIDER, sentences=4)
        self._cheap = HelpDeskStandIn(model_name=CHEAP, provider=PROVIDER, sentences=2)
        self._notes = ScriptedChatModel(
            responses=[what_users_said], loop=True, model_name=CHEAP, provider=PROVIDER
        )
        self.naive = Desk(
            rules, self.strong.bind_tools([signature]), self.whole(DOCUMENTS)
        )

    def whole(self, count: int) -> RetrieverLike:
        """The best documents as they are."""
        return self._index.as_retriever(search_kwargs={"k": count})

    def cut(self, retriever: RetrieverLike, count: int) -> BudgetRetriever:
        """Those of a retriever, cut to sentences."""
        return BudgetRetriever(retriever=retriever, max_docs=count)

    def memory(self) -> SummaryMemory:
        """A memory with the demo's notes."""
        answering = self.strong.bind_tools([signature])
        return SummaryMemory(self._notes, answer_model=answering, **MEMORY)

    def router(self, **options: Any) -> Runnable[Any, Any]:
        """The cheap model first."""
        models = {
            name: model.model_copy(update=options)
            for name, model in (("cheap", self._cheap), ("strong", self.strong))
        }
        policy = AnswerChecks(checks=[names_no_part])
        return EscalationRouter(models, policy=policy).bind_tools([signature])

    def capped(self) -> Runnable[Any, Any]:
        """The strong model with short answers."""
        model = self.strong.model_copy(update={"max_tokens": CAP})
        return model.bind_tools([signature])


def said(ledger: TokenLedger, **options: Any) -> WhatIf:
    """What the levers of this file would save."""
    return what_if(
        ledger,
        max_docs=FEW,
        memory_tokens=MEMORY["max_tokens"],
        keep_tokens=MEMORY["keep_tokens"],
        max_summary_tokens=MEMORY["max_summary_tokens"],
        tool_calls=True,
        output_cap=CAP,
        **{"cheap": (CHEAP, PROVIDER), **options},
    )


def on_the_demo(levers: Levers, before: TokenLedger) -> list[Row]:
    """The levers that have something to save on the demo's traffic, and all at once."""
    naive, embeddings = levers.naive, local_embeddings()
    routed = recorded(replace(naive, answering=levers.router()).graph())
    share = accepted(routed)
    found = said(before, acceptance=share)

    def row(name: str, desk: Desk, note: str = "", *others: str) -> Row:
        alone = [found.share(found[each].alone) or 0.0 for each in (name, *others)]
        return Row(name, sum(alone), saved(before, recorded(desk.graph())), note)

    exact = replace(naive, cache=SemanticCache(tool_calls=True))
    semantic = replace(naive, cache=SemanticCache(embeddings, tool_calls=True))
    few = replace(naive, retriever=levers.whole(FEW))
    cut = replace(naive, retriever=levers.cut(levers.whole(DOCUMENTS), DOCUMENTS))
    cheap = found.share(found["cheap first"].alone) or 0.0
    rows = [
        row("exact cache", exact),
        row("semantic cache", semantic, "with the exact one", "exact cache"),
        Row("cheap first", cheap, saved(before, routed), f"{share:.0%} accepted"),
        row("top-k", few),
        row("chunk size", cut),
        row("history summary", replace(naive, memory=levers.memory())),
        row("output cap", replace(naive, answering=levers.capped())),
    ]
    together = replace(
        naive,
        answering=levers.router(max_tokens=CAP),
        retriever=levers.cut(levers.whole(FEW), FEW),
        cache=SemanticCache(embeddings, tool_calls=True),
        memory=levers.memory(),
    )
    real = saved(before, recorded(together.graph()))
    return [*rows, Row("together", found.share(found.together) or 0.0, real)]


def on_wordy_prompts(levers: Levers) -> list[Row]:
    """System prompt and tools with needless text, and the same without it."""
    tools = [signature, exchange_rate, open_ticket]
    wordy = replace(
        levers.naive,
        rules=levers.naive.rules + WORDY,
        answering=levers.strong.bind_tools(tools),
        tools=tools,
    )
    once = "".join(WORDY.splitlines()[0].rstrip())
    before = recorded(wordy.graph())
    found = said(before)
    brief = replace(wordy, rules=f"{levers.naive.rules}{once}")
    few = replace(wordy, answering=levers.naive.answering, tools=(signature,))
    return [
        Row(
            name,
            found.share(found[name].alone) or 0.0,
            saved(before, recorded(desk.graph())),
            "needless text added",
        )
        for name, desk in (("system prompt", brief), ("tool schemas", few))
    ]


def on_cached_prefixes(levers: Levers) -> Row:
    """A model whose provider caches from 1,024 tokens on, and the same with marks."""

    def answering(*, marked: bool) -> Runnable[Any, Any]:
        model = CachingStandIn(model_name=CACHING, provider=PROVIDER, sentences=4)
        asked = model.bind_tools([signature])
        if not marked:
            return asked
        target = (CACHING, PROVIDER)

        def mark(prompt: list[BaseMessage]) -> list[BaseMessage]:
            tools = [signature]
            return list(
                cache_points(prompt, model=target, tools=tools, calls=20).messages
            )

        return RunnableLambda(mark) | asked

    before = recorded(replace(levers.naive, answering=answering(marked=False)).graph())
    after = recorded(replace(levers.naive, answering=answering(marked=True)).graph())
    found = said(before)
    share = found.share(found["prompt prefix"].alone) or 0.0
    return Row("prompt prefix", share, saved(before, after), f"priced as {CACHING}")


def searching(model: Any, retriever: RetrieverLike) -> Any:
    """An agent that looks everything up, and keeps what it found in the chat."""
    look_up = create_retriever_tool(
        cast(BaseRetriever, retriever), "look_up", "Look something up."
    )
    return create_agent(model, [look_up], checkpointer=InMemorySaver())


def on_an_agent(levers: Levers) -> list[Row]:
    """Documents as the results of a tool, which stay in the prompts of later turns."""

    def answer(chat: list[BaseMessage]) -> AIMessage:
        asked = chat[-1]
        if asked.type != "human":
            return AIMessage("It is in the documentation, as far as I can see. " * 4)
        call = {"name": "look_up", "args": {"query": asked.text}, "id": str(len(chat))}
        return AIMessage("", tool_calls=[call])

    model = ScriptedChatModel(
        responses=[answer], loop=True, model_name=DEAR, provider=PROVIDER
    )
    whole = levers.whole(DOCUMENTS)
    before = recorded(searching(model, whole))
    found = said(before)
    on = "an agent with a retriever tool"
    rows = []
    for name, retriever in (
        ("top-k", levers.whole(FEW)),
        ("chunk size", levers.cut(whole, DOCUMENTS)),
    ):
        share = found.share(found[name].alone) or 0.0
        real = saved(before, recorded(searching(model, retriever)))
        rows.append(Row(name, share, real, on))
    return rows


def table(rows: Sequence[Row]) -> Table:
    """What is said against what is saved."""
    shown = Table(
        "lever", "said", "saved", "off by", "on",
        title="Share of the dollars of the demo's questions that a lever saves, alone",
        caption=f"Answers of a stand-in. Allowed: {100 * ALLOWED:.0f} points off.",
    )  # fmt: skip
    for row in rows:
        points = f"{round(100 * row.off, 1) + 0:+}"
        cells = (f"{row.said:.1%}", f"{row.real:.1%}", points, row.on)
        shown.add_row(row.lever, *cells)
    return shown


def main() -> int:
    """Predict, switch on, compare; 1 where a lever is off by more than allowed."""
    index = build_index()
    strong = HelpDeskStandIn(model_name=DEAR, provider=PROVIDER, sentences=4)
    before = recorded(naive_arm(strong, index).graph)
    first = next(entry for entry in before.entries() if entry.kind == "chat")
    levers = Levers(index, before.text(first.messages[0].digest) or "")
    rows = [
        *on_the_demo(levers, before),
        *on_wordy_prompts(levers),
        on_cached_prefixes(levers),
        *on_an_agent(levers),
    ]
    console = Console(width=120)
    console.print(table(rows))
    same = saved(before, recorded(levers.naive.graph()))
    console.print(f"The help desk here with nothing switched on saves {same:.1%}.")
    return int(any(abs(row.off) > ALLOWED for row in rows))


if __name__ == "__main__":
    sys.exit(main())

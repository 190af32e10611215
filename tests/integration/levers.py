"""Every lever in a chain, in a StateGraph and in an agent, set up so that it acts."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from langchain.agents.middleware import dynamic_prompt
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import FewShotPromptTemplate, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_lean import (
    Budget,
    BudgetExampleSelector,
    BudgetGuard,
    BudgetRetriever,
    EscalationRouter,
    MeteredEmbeddings,
    PrefixMonitor,
    SemanticCache,
    SpendAlarm,
    StepCap,
    SummaryMemory,
    TokenLedger,
    local_embeddings,
)
from langchain_lean.context.output import concise, stop_at_json
from langchain_lean.context.prefix import before_question, cache_points, stable_prefix
from langchain_lean.messages import last_human_text
from langchain_lean.middleware import (
    BudgetMiddleware,
    EscalationMiddleware,
    LeanCacheMiddleware,
    PromptCacheMiddleware,
    StepCapMiddleware,
    SummaryMemoryMiddleware,
)
from langchain_lean.routing.policies import AnswerChecks
from langchain_lean.testing import ScriptedChatModel
from tests.integration.matrix import ASKED, PROMPT, Cell, Levers, Place, node, put
from tests.integration.middleware.agents import (
    STRONG,
    calling,
    restless,
    scripted,
    search,
)

LEVERS = Levers()

ANSWER = "A ledger keeps accounts."
LONG = "A ledger keeps accounts of all that is spent. " * 40
DOCUMENTS = [
    Document("A ledger keeps accounts. It has pages."),
    Document("Cars have four wheels. Tyres wear out."),
]


def prompts(model: ScriptedChatModel) -> list[str]:
    """The prompts that a stand-in was sent, as text."""
    return ["\n".join(str(m.content) for m in call.messages) for call in model.calls]


@LEVERS.add("TokenLedger", chain="`callbacks=[ledger]`")
def token_ledger(place: Place) -> Cell:
    ledger = TokenLedger()
    return Cell(
        put(place, scripted(ANSWER, loop=True)),
        lambda seen: ledger.totals().calls / seen.requests,
        1,
        callbacks=[ledger],
    )


@LEVERS.add("BudgetGuard", chain="`callbacks=[guard]`")
def budget_guard(place: Place) -> Cell:
    model = scripted(ANSWER, loop=True)
    guard = BudgetGuard(Budget(input_tokens=1, per="call"))
    return Cell(
        put(place, model),
        lambda seen: (type(seen.error).__name__, len(model.calls)),
        ("BudgetExceededError", 0),
        callbacks=[guard],
    )


@LEVERS.add(
    "a budget that adapts calls",
    chain="`guard.model(model)`",
    agent="`BudgetMiddleware(guard)`",
)
def budgeted_model(place: Place) -> Cell:
    model = scripted(LONG, loop=True)
    guard = BudgetGuard(Budget(tokens=150, per="call"))
    return Cell(
        put(
            place,
            model,
            answering=guard.model(model, when_over=["shorten"]),
            middleware=[BudgetMiddleware(guard, when_over=["shorten"])],
        ),
        lambda seen: seen.notes,
        {("budget", "shorten"), ("budget", "shortened")},
    )


@LEVERS.add(
    "StepCap",
    chain="`cap.model(model)` and `callbacks=[cap]`",
    agent="`StepCapMiddleware(cap)`",
)
def step_cap(place: Place) -> Cell:
    cap = StepCap(max_calls=1)
    in_agent = place == "create_agent"
    model = restless() if in_agent else scripted(ANSWER, loop=True)
    first, last = cap.model(model, final=False), cap.model(model)
    return Cell(
        put(
            place,
            model,
            answering=first | RunnableLambda(lambda answer: [*ASKED, answer]) | last,
            nodes=[("draft", node(PROMPT | first)), ("answer", node(PROMPT | last))],
            tools=[search],
            middleware=[StepCapMiddleware(cap)],
        ),
        lambda seen: seen.notes,
        {("steps", "capped")},
        callbacks=[] if in_agent else [cap],
    )


@LEVERS.add(
    "EscalationRouter",
    chain="`router`",
    graph="`router` as a node",
    agent="`EscalationMiddleware(router)`",
)
def escalation_router(place: Place) -> Cell:
    cheap = scripted("I'm not sure what a ledger keeps.", loop=True)
    strong = scripted(ANSWER, loop=True, name=STRONG)
    router = EscalationRouter({"haiku": cheap, "sonnet": strong}, policy=AnswerChecks())
    return Cell(
        put(
            place,
            cheap,
            answering=router,
            nodes=[("answer", router)],
            middleware=[EscalationMiddleware(router)],
        ),
        lambda seen: seen.notes,
        {("routing", "escalated")},
    )


@LEVERS.add(
    "SummaryMemory",
    chain="`memory` before the model",
    graph="`memory` as a node",
    agent="`SummaryMemoryMiddleware(memory)`",
)
def summary_memory(place: Place) -> Cell:
    model = scripted(ANSWER, loop=True)
    memory = SummaryMemory(
        scripted("It is about ledgers.", loop=True),
        max_tokens=500,
        keep_tokens=100,
        always=True,
    )
    return Cell(
        put(
            place,
            model,
            answering=memory | model,
            nodes=[("memory", memory), ("answer", node(PROMPT | model))],
            middleware=[SummaryMemoryMiddleware(memory)],
        ),
        lambda seen: {
            ("It is about ledgers." in prompt, LONG in prompt)
            for prompt in prompts(model)
        },
        {(True, False)},
        asked=[HumanMessage(LONG), AIMessage(LONG), *ASKED],
    )


@LEVERS.add(
    "SemanticCache",
    chain="`cache.model(model)`",
    graph="`cache.model(model)` as a node",
    agent="`LeanCacheMiddleware(cache)`",
)
def semantic_cache(place: Place) -> Cell:
    model = scripted(ANSWER, loop=True)
    cache = SemanticCache(local_embeddings())
    app = put(
        place,
        model,
        answering=cache.model(model),
        nodes=[("answer", cache.model(model))],
        middleware=[LeanCacheMiddleware(cache)],
    )
    app.invoke({"messages": [HumanMessage("How do I reset my password?")]})
    return Cell(
        app,
        lambda seen: (seen.notes, len(model.calls)),
        ({("cache", "hit")}, 1),
        asked=[HumanMessage("How can I reset my password?")],
    )


CLOCK = "The current time is 2026-11-22 15:00:00."
RULES = "Answer in one sentence, and say where you know it from. " * 150


@LEVERS.add(
    "a stable prefix, marked for the provider's cache",
    chain="`stable_prefix`, `cache_points`",
    agent="`PromptCacheMiddleware()`",
)
def stable(place: Place) -> Cell:
    model = scripted(ANSWER, loop=True, name=STRONG)

    def in_order(prompt: Any) -> Sequence[BaseMessage]:
        stable = stable_prefix(prompt.to_messages())
        return cache_points(stable, model=model, calls=20).messages

    return Cell(
        put(
            place,
            model,
            prompt=PROMPT | RunnableLambda(in_order),
            middleware=[PromptCacheMiddleware(calls=20)],
        ),
        lambda seen: {
            ("cache_control" in str(first.content), CLOCK in str(last.content))
            for first, *_, last in (call.messages for call in model.calls)
        },
        {(True, True)},
        asked=[SystemMessage(f"{CLOCK} {RULES}"), *ASKED],
    )


@LEVERS.add("PrefixMonitor", chain="`callbacks=[monitor]`")
def prefix_monitor(place: Place) -> Cell:
    monitor = PrefixMonitor()
    app = put(place, scripted(ANSWER, loop=True))
    before = [SystemMessage("It is 15:00. Be brief."), *ASKED]
    app.invoke({"messages": before}, {"callbacks": [monitor]})
    return Cell(
        app,
        lambda seen: {change.where for change in monitor.changes()},
        {"message 0 (system), byte 10"},
        callbacks=[monitor],
        asked=[SystemMessage("It is 15:01. Be brief."), *ASKED],
    )


class Shelf(BaseRetriever):
    """Finds everything there is."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return DOCUMENTS


def with_retriever(place: Place, model: ScriptedChatModel, retriever: Any) -> Any:
    """An application that reads documents; an agent asks for them."""
    question = itemgetter("messages") | RunnableLambda(last_human_text)
    reading = RunnableLambda(
        lambda state: before_question(state["messages"], state["documents"])
    )
    return put(
        place,
        model,
        prompt=RunnablePassthrough.assign(documents=question | retriever) | reading,
        tools=[create_retriever_tool(retriever, "look_up", "Look something up.")],
    )


def reader(place: Place) -> ScriptedChatModel:
    """A stand-in that looks something up where it is an agent's."""

    def answer(messages: Sequence[BaseMessage]) -> Any:
        looks = place == "create_agent" and messages[-1].type == "human"
        return calling("look_up", query="What does a ledger keep?") if looks else ANSWER

    return scripted(answer, loop=True)


@LEVERS.add(
    "BudgetRetriever",
    chain="in place of the retriever",
    agent="`create_retriever_tool(retriever, ...)`",
)
def budget_retriever(place: Place) -> Cell:
    model = reader(place)
    retriever = BudgetRetriever(retriever=Shelf(), max_docs=1)
    return Cell(
        with_retriever(place, model, retriever),
        lambda seen: {("accounts" in p, "wheels" in p) for p in prompts(model)[-1:]},
        {(True, False)},
    )


@LEVERS.add(
    "MeteredEmbeddings",
    chain="in place of the embeddings",
    agent="in place of the embeddings of a tool",
)
def metered_embeddings(place: Place) -> Cell:
    ledger = TokenLedger()
    store = InMemoryVectorStore(MeteredEmbeddings(DeterministicFakeEmbedding(size=8)))
    store.add_documents(DOCUMENTS)
    return Cell(
        with_retriever(place, reader(place), store.as_retriever()),
        lambda seen: ledger.totals(by="kind")["embedding"].calls / seen.requests,
        1,
        callbacks=[ledger],
    )


@LEVERS.add(
    "BudgetExampleSelector",
    chain="in a few-shot prompt",
    agent="in a `dynamic_prompt`",
)
def example_selector(place: Place) -> Cell:
    model = scripted("card", loop=True)
    examples = [
        {"input": "My card was stolen.", "output": "card"},
        {"input": "What is the fee for a transfer?", "output": "transfer"},
    ]
    shots = FewShotPromptTemplate(
        example_selector=BudgetExampleSelector(examples, k=1, max_tokens=100),
        example_prompt=PromptTemplate.from_template("{input} -> {output}"),
        prefix="Name the topic.",
        suffix="",
        input_variables=["input"],
    )

    def system(messages: Sequence[BaseMessage]) -> str:
        return shots.format(input=last_human_text(messages))

    return Cell(
        put(
            place,
            model,
            prompt=RunnableLambda(
                lambda state: [
                    SystemMessage(system(state["messages"])),
                    *state["messages"],
                ]
            ),
            middleware=[dynamic_prompt(lambda request: system(request.messages))],
        ),
        lambda seen: {("stolen" in p, "fee" in p) for p in prompts(model)},
        {(True, False)},
        asked=[HumanMessage("I lost my card.")],
    )


@LEVERS.add("concise", chain="`concise(model)`")
def short_answers(place: Place) -> Cell:
    model = scripted(ANSWER, loop=True)
    short = concise(model)
    return Cell(
        put(place, short, answering=short, tools=[search]),
        lambda seen: (seen.notes, {"Answer in one" in p for p in prompts(model)}),
        ({("output", "concise")}, {True}),
    )


@LEVERS.add(
    "stop_at_json",
    chain="`stop_at_json(model)`",
    agent="`stop_at_json(model)`, where the agent has no tools",
)
def early_end(place: Place) -> Cell:
    model = stop_at_json(scripted('{"keeps": "accounts"} I hope it helps.', loop=True))
    return Cell(
        put(place, model),
        lambda seen: (seen.notes, {answer.text for answer in seen.answers}),
        ({("output", "stopped")}, {'{"keeps": "accounts"}'}),
    )


@LEVERS.add("SpendAlarm", chain="`callbacks=[alarm]`")
def spend_alarm(place: Place) -> Cell:
    told: list[Any] = []
    alarm = SpendAlarm(usd="0.00001", per="month", at=(1.0,), notify=told.append)
    return Cell(
        put(place, scripted(ANSWER, loop=True)),
        lambda seen: [alert.threshold for alert in told],
        [1.0],
        callbacks=[alarm],
    )

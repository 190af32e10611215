"""How routing is used, for mypy: never run."""

from collections.abc import Sequence
from typing import Any, assert_type

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_lean import EscalationRouter, PriceBook, StepCap, TokenCounter
from langchain_lean.routing.learned import (
    CalibratedPolicy,
    LearnedPolicy,
    Outcome,
    calibrate,
)
from langchain_lean.routing.policies import (
    Agreement,
    EscalationPolicy,
    Grader,
    SelfScreen,
    Verdict,
    all_of,
    any_of,
)
from langchain_lean.routing.router import Route, RouteState


class Polite(EscalationPolicy):
    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        return Verdict("please" not in answer.text, 0.5, "it is not polite")


class Long(EscalationPolicy):
    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        return Verdict(len(messages) > 20)


def every_option(
    haiku: BaseChatModel, sonnet: BaseChatModel, tools: list[BaseTool]
) -> None:
    router = EscalationRouter(
        {"haiku": haiku, "sonnet": sonnet.bind_tools(tools), "opus": "anthropic:opus"},
        policy=any_of(SelfScreen(when="it is about the law"), Polite(), Long()),
        sticky=True,
        messages_key="chat",
        prices=PriceBook(),
        counter=TokenCounter(),
    )
    assert_type(router, EscalationRouter)
    assert_type(router.bind_tools(tools, tool_choice="any"), EscalationRouter)
    assert_type(router.models, dict[str, Runnable[Any, Any]])
    EscalationRouter({"haiku": haiku, "sonnet": sonnet})  # type: ignore[call-arg]


def node(router: EscalationRouter) -> None:
    graph = StateGraph(RouteState)
    graph.add_node("answer", router)
    graph.add_edge(START, "answer")
    graph.compile().invoke({"messages": [HumanMessage("Hi.")]})


def nodes_of_your_own(router: EscalationRouter) -> None:
    def answer(state: RouteState) -> dict[str, list[BaseMessage]]:
        assert_type(state["messages"], list[AnyMessage])
        route = state["route"]
        assert_type(route, Route)
        assert_type(route["model"], str)
        assert_type(route["decision_usd"], str | None)
        assert_type(route["verdicts"][0]["score"], float | None)
        return {"messages": []}

    graph = StateGraph(RouteState)
    graph.add_node("screen", router.screen)
    graph.add_node("haiku", answer)
    graph.add_conditional_edges("screen", router.route, ["haiku"])


def policies(haiku: BaseChatModel) -> None:
    def same(one: str, other: str) -> float:
        return float(one == other)

    grader = Grader(haiku, at_least=6, rubric="Is it polite?", reads="question")
    assert_type(grader.judge([], AIMessage("")), Verdict)
    agreement = Agreement(haiku, same=same, at_least=0.9)
    both: EscalationPolicy = all_of(grader, agreement)
    assert_type(both.judge([], AIMessage("")), Verdict | None)
    Grader(haiku, reads="all")  # type: ignore[arg-type]


async def chains(router: EscalationRouter, policy: EscalationPolicy) -> None:
    await router.ainvoke([HumanMessage("Hi.")])
    assert_type(await policy.ascreen([]), Verdict | None)
    assert_type(await policy.ajudge([], AIMessage("")), Verdict | None)


def learned(outcomes: list[Outcome], embeddings: Embeddings, grader: Grader) -> None:
    policy = LearnedPolicy.fit(outcomes, embeddings=embeddings, threshold=0.6)
    assert_type(policy, LearnedPolicy)
    assert_type(policy.score("Why?", "So."), float)
    assert_type(calibrate(policy, outcomes, max_bad=0.05), LearnedPolicy)
    assert_type(
        calibrate(grader, outcomes, confidence=0.9), LearnedPolicy | CalibratedPolicy
    )
    policy.save("policy.npz")
    assert_type(LearnedPolicy.load("policy.npz"), LearnedPolicy)
    LearnedPolicy.fit(outcomes, embeddings=False)


def step_cap(model: BaseChatModel, tools: list[BaseTool]) -> None:
    cap = StepCap(max_calls=20, repeat=3, store="sqlite:///steps.db")
    capped: Runnable[Any, Any] = cap.model(model.bind_tools(tools), final=True)
    capped.invoke("Hi.", {"callbacks": [cap]})
    ToolNode(
        tools, wrap_tool_call=cap.wrap_tool_call, awrap_tool_call=cap.awrap_tool_call
    )
    StepCap(max_calls="20")  # type: ignore[arg-type]

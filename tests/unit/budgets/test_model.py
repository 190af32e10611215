"""A budgeted model: what it does with calls that do not fit, and in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    TokenLedger,
)
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import unpaired_tool_messages
from langchain_lean.testing import ScriptedChatModel

Ask = Callable[[BudgetedModel, Any, Any], Awaitable[AIMessage]]


async def invoke(model: BudgetedModel, prompt: Any, config: Any) -> AIMessage:
    return model.invoke(prompt, config)


async def ainvoke(model: BudgetedModel, prompt: Any, config: Any) -> AIMessage:
    return await model.ainvoke(prompt, config)


async def stream(model: BudgetedModel, prompt: Any, config: Any) -> AIMessage:
    chunks = list(model.stream(prompt, config))
    return sum(chunks[1:], chunks[0])


async def astream(model: BudgetedModel, prompt: Any, config: Any) -> AIMessage:
    chunks = [chunk async for chunk in model.astream(prompt, config)]
    return sum(chunks[1:], chunks[0])


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


def gpt(name: str, answer: str = "It is so. " * 60) -> ScriptedChatModel:
    return ScriptedChatModel(
        responses=[answer], loop=True, model_name=name, provider="openai"
    )


@pytest.fixture
def strong() -> ScriptedChatModel:
    return gpt("gpt-5")


@pytest.fixture
def lite() -> ScriptedChatModel:
    return gpt("gpt-5-nano")


def chat(turns: int = 10) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage("Be brief.")]
    for number in range(turns):
        messages.append(HumanMessage(f"Question {number}. " * 20))
        messages.append(AIMessage("Answer. " * 20))
    return [*messages, HumanMessage("And now?")]


def done(answer: AIMessage) -> list[str]:
    return [note["action"] for note in answer.response_metadata.get("lean", [])]


@every_way
async def test_a_call_that_fits_is_made_as_it_is(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(usd="1", per="day"))
    answer = await ask(guard.model(strong), chat(), {})
    assert done(answer) == []
    (call,) = strong.calls
    assert [m.content for m in call.messages] == [m.content for m in chat()]
    assert "max_tokens" not in call.kwargs
    (status,) = guard.status()
    assert status.used > 0
    assert status.held == 0


@every_way
async def test_the_guard_reserves_and_settles_once_wherever_it_is_given(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(calls=10, per="day"))
    await ask(guard.model(strong), "Hello", {"callbacks": [guard]})
    await ask(guard.model(strong), "Hello", {})
    (status,) = guard.status()
    assert (status.used, status.held) == (2, 0)


@every_way
async def test_a_prompt_that_is_too_long_loses_its_oldest_turns(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(input_tokens=500, per="call"))
    answer = await ask(guard.model(strong, when_over=["trim"]), chat(), {})
    assert done(answer) == ["trim"]
    sent = list(strong.calls[0].messages)
    assert sent[0].content == "Be brief."
    assert sent[-1].content == "And now?"
    assert sent[1].type == "human"
    assert 2 < len(sent) < len(chat())
    kept = [m.content for m in sent[1:]]
    assert kept == [m.content for m in chat()][-len(kept) :]


def test_as_few_turns_go_as_make_it_fit(strong: ScriptedChatModel) -> None:
    guard = BudgetGuard(Budget(input_tokens=500, per="call"))
    guard.model(strong, when_over=["trim"]).invoke(chat())
    kept = strong.calls[0].messages
    one_more = [chat()[0], *chat()[-len(kept) - 1 :]]
    with pytest.raises(BudgetExceededError):
        strong.invoke(one_more, {"callbacks": [guard]})


def test_a_tool_result_is_never_parted_from_its_call(
    strong: ScriptedChatModel,
) -> None:
    call = {"name": "search", "args": {"q": "x"}, "id": "1"}
    messages = chat(3)
    messages[1:1] = [
        HumanMessage("Look it up."),
        AIMessage("", tool_calls=[call]),
        ToolMessage("Found it. " * 30, tool_call_id="1"),
        AIMessage("There."),
    ]
    for limit in range(30, 420, 10):
        guard = BudgetGuard(Budget(input_tokens=limit, per="call"))
        try:
            guard.model(strong, when_over=["trim"]).invoke(messages)
        except BudgetExceededError:
            continue
        sent = strong.calls[-1].messages
        assert unpaired_tool_messages(sent) == []
        assert sent[-1].content == "And now?"
    assert len({len(call.messages) for call in strong.calls}) > 2


@every_way
async def test_an_answer_that_may_cost_too_much_is_capped(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(output_tokens=100, per="call"))
    answer = await ask(guard.model(strong, when_over=["shorten"]), "Why?", {})
    assert done(answer) == ["shorten", "shortened"]
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] <= 100


def test_an_answer_that_ends_before_its_cap_is_not_called_shortened() -> None:
    guard = BudgetGuard(Budget(output_tokens=100, per="call"))
    answer = guard.model(gpt("gpt-5", "Because.")).invoke("Why?")
    assert done(answer) == ["shorten"]


def test_an_answer_is_not_capped_below_what_is_worth_having(
    strong: ScriptedChatModel,
) -> None:
    guard = BudgetGuard(Budget(output_tokens=10, per="call"))
    with pytest.raises(BudgetExceededError):
        guard.model(strong).invoke("Why?")
    assert strong.calls == []


@every_way
async def test_a_call_that_costs_too_much_is_asked_of_the_lite_model(
    ask: Ask, strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(usd="0.002", per="day"))
    model = guard.model(strong, lite=lite, when_over=["downgrade"])
    answer = await ask(model, chat(), {})
    assert done(answer) == ["downgrade"]
    assert strong.calls == []
    assert len(lite.calls) == 1
    assert len(lite.calls[0].messages) == len(chat())


def agent_chat() -> list[BaseMessage]:
    call = {"name": "search", "args": {"q": "tea"}, "id": "1"}
    open_call = {"name": "buy", "args": {}, "id": "2"}
    return [
        HumanMessage("Find tea."),
        AIMessage("I look.", tool_calls=[call]),
        ToolMessage("Green tea, $3.", tool_call_id="1"),
        AIMessage("", tool_calls=[open_call]),
    ]


@every_way
async def test_at_the_end_there_is_one_short_answer_without_tools(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    @tool
    def search(q: str) -> str:
        """Search."""
        return q

    guard = BudgetGuard(Budget(tokens=900, per="day"))
    model = guard.model(strong, when_over=["finish"]).bind_tools([search])
    answer = await ask(model, agent_chat(), {})
    assert done(answer) == ["finish"]
    (call,) = strong.calls
    assert "tools" not in call.kwargs
    assert not any(getattr(m, "tool_calls", None) for m in call.messages)
    assert not any(m.type == "tool" for m in call.messages)
    said = "\n".join(str(m.content) for m in call.messages)
    assert "Green tea, $3." in said
    assert '[Called search with {"q": "tea"}]' in said
    assert "[Called buy with {}, which was not run]" in said


def test_what_was_done_is_tried_in_the_order_given(
    strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    budget = Budget(usd="0.003", per="day")
    first = {
        ("trim", "shorten", "downgrade"): "shorten",
        ("downgrade", "shorten", "trim"): "downgrade",
    }
    for order, action in first.items():
        model = BudgetGuard(budget).model(strong, lite=lite, when_over=order)
        assert done(model.invoke(chat()))[0] == action


def test_what_helps_not_alone_is_done_together(strong: ScriptedChatModel) -> None:
    guard = BudgetGuard(
        Budget(input_tokens=500, per="call"), Budget(output_tokens=300, per="call")
    )
    answer = guard.model(strong, when_over=["trim", "shorten"]).invoke(chat())
    assert done(answer)[:2] == ["trim", "shorten"]


@every_way
async def test_where_nothing_helps_the_error_is_raised_and_stands_in_the_ledger(
    ask: Ask, strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(calls=0, per="day"))
    with pytest.raises(BudgetExceededError):
        await ask(guard.model(strong, lite=lite), chat(), {"callbacks": [ledger]})
    assert strong.calls == lite.calls == []
    (entry,) = ledger.entries()
    assert (entry.blocked, entry.model) == (True, "gpt-5")


@every_way
async def test_raise_ends_the_list(
    ask: Ask, strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(usd="0.002", per="day"))
    order: Any = ["raise", "downgrade"]
    with pytest.raises(BudgetExceededError):
        await ask(guard.model(strong, lite=lite, when_over=order), chat(), {})


@every_way
async def test_what_was_done_is_in_the_ledger(
    ask: Ask, strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(usd="0.002", per="day"))
    model = guard.model(strong, lite=lite, when_over=["downgrade"])
    await ask(model, chat(), {"callbacks": [ledger]})
    (entry,) = ledger.entries()
    assert entry.tags == ("lean:downgrade",)
    saving = ledger.savings().levers["budget"]
    assert saving.baselines == ("the call as it was asked of gpt-5",)
    assert saving.counterfactual > 0
    assert saving.exact == 0


def test_what_was_trimmed_is_a_saving_against_the_whole_chat(
    strong: ScriptedChatModel,
) -> None:
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(input_tokens=500, per="call"))
    guard.model(strong).invoke(chat(), {"callbacks": [ledger]})
    saving = ledger.savings().levers["budget"]
    assert saving.baselines == ("all turns of the chat",)
    assert saving.counterfactual > 0


def test_a_capped_answer_claims_no_saving(strong: ScriptedChatModel) -> None:
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(output_tokens=100, per="call"))
    guard.model(strong).invoke("Why?", {"callbacks": [ledger]})
    assert ledger.savings().levers == {}


@every_way
async def test_exact_caps_answers_at_what_is_reserved(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    model = gpt("gpt-5", "word " * 3_000)
    guard = BudgetGuard(Budget(tokens=1_100, per="day"))
    answer = await ask(guard.model(model, exact=True), "Why?", {})
    assert done(answer) == ["shortened"]
    (status,) = guard.status()
    assert status.overshoot == 0
    assert status.used <= 1_100


def test_without_exact_a_long_answer_overshoots_and_that_is_shown() -> None:
    model = gpt("gpt-5", "word " * 3_000)
    guard = BudgetGuard(Budget(tokens=1_100, per="day"))
    guard.model(model).invoke("Why?")
    (status,) = guard.status()
    assert isinstance(status.used, int)
    assert status.overshoot == status.used - 1_100 > 0


def test_the_caller_s_own_cap_is_what_is_reserved(strong: ScriptedChatModel) -> None:
    guard = BudgetGuard(Budget(output_tokens=200, per="call"))
    model = guard.model(strong.model_copy(update={"max_tokens": 150}))
    assert done(model.invoke("Why?")) == []
    guard.model(strong, when_over=[]).invoke("Why?", max_tokens=150)
    with pytest.raises(BudgetExceededError):
        guard.model(strong, when_over=[]).invoke("Why?", max_tokens=250)


def test_structured_answers_pass_through(strong: ScriptedChatModel) -> None:
    class Capital(BaseModel):
        """A city."""

        name: str

    model = gpt("gpt-5", '{"name": "Bern"}')
    guard = BudgetGuard(Budget(calls=2, per="day"))
    structured = guard.model(model).with_structured_output(Capital)
    assert structured.invoke("Of Switzerland?") == Capital(name="Bern")
    raw = guard.model(model).with_structured_output(Capital, include_raw=True)
    assert raw.invoke("Of Switzerland?")["parsed"] == Capital(name="Bern")
    with pytest.raises(BudgetExceededError):
        structured.invoke("Of Switzerland?")


def test_tools_pass_through_to_both_models(
    strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    @tool
    def search(q: str) -> str:
        """Search."""
        return q

    for usd, used in (("1", strong), ("0.002", lite)):
        guard = BudgetGuard(Budget(usd=usd, per="day"))
        model = guard.model(strong, lite=lite, when_over=["downgrade"])
        model.bind_tools([search]).invoke(chat())
        (tools,) = [call.kwargs["tools"] for call in used.calls]
        assert [t["function"]["name"] for t in tools] == ["search"]


def test_a_model_with_tools_bound_to_it_is_taken(strong: ScriptedChatModel) -> None:
    bound = strong.bind(stop=["so"])
    guard = BudgetGuard(Budget(output_tokens=100, per="call"))
    answer = guard.model(bound).invoke("Why?")
    assert answer.content == "It is "


def test_it_stands_in_a_chain(strong: ScriptedChatModel) -> None:
    guard = BudgetGuard(Budget(calls=1, per="day", by="user_id"))
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    chain = prompt | guard.model(strong)
    ada: Any = {"metadata": {"user_id": "ada"}}
    chain.invoke({"question": "Why?"}, ada)
    with pytest.raises(BudgetExceededError):
        chain.invoke({"question": "Why?"}, ada)
    chain.invoke({"question": "Why?"}, {"metadata": {"user_id": "bob"}})


def test_a_retry_reserves_anew(strong: ScriptedChatModel) -> None:
    flaky = ScriptedChatModel(
        responses=[ConnectionError("lost"), "There."], model_name="gpt-5"
    )
    guard = BudgetGuard(Budget(tokens=5_000, per="day"))
    retrying = flaky.with_retry(
        retry_if_exception_type=(ConnectionError,), wait_exponential_jitter=False
    )
    assert guard.model(retrying).invoke("Why?").content == "There."
    (status,) = guard.status()
    assert status.held == 0
    assert 0 < status.used < 100


def test_a_failed_call_leaves_nothing_held(strong: ScriptedChatModel) -> None:
    broken = ScriptedChatModel(responses=[ConnectionError("lost")])
    guard = BudgetGuard(Budget(tokens=5_000, per="day"))
    with pytest.raises(ConnectionError):
        guard.model(broken).invoke("Why?")
    (status,) = guard.status()
    assert (status.used, status.held) == (0, 0)


def test_a_stream_that_is_closed_is_settled(strong: ScriptedChatModel) -> None:
    guard = BudgetGuard(Budget(tokens=5_000, per="day"))
    chunks = guard.model(strong).stream("Why?")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    (status,) = guard.status()
    assert status.held == 0
    assert 0 < status.used < 100


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"when_over": ["pray"]}, "when_over= takes trim, shorten"),
        ({"when_over": ["downgrade"]}, "lite="),
        ({"when_over": "trim"}, "takes a list"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    strong: ScriptedChatModel, options: Any, says: str
) -> None:
    guard = BudgetGuard(Budget(calls=1, per="day"))
    with pytest.raises(ConfigurationError, match=says):
        guard.model(strong, **options)


def test_what_is_no_model_is_refused() -> None:
    guard = BudgetGuard(Budget(calls=1, per="day"))
    prompt: Any = ChatPromptTemplate.from_messages([("human", "{question}")])
    with pytest.raises(ConfigurationError, match="takes a chat model"):
        guard.model(prompt)
    with pytest.raises(ConfigurationError, match="takes a chat model"):
        guard.model("gpt-5")  # type: ignore[arg-type]


@every_way
async def test_it_is_charged_to_whom_the_model_says(
    ask: Ask, strong: ScriptedChatModel
) -> None:
    guard = BudgetGuard(Budget(calls=None, per="day", by="user_id"))
    mine = strong.model_copy(update={"metadata": {"user_id": "ada"}})
    await ask(guard.model(mine), "Why?", {})
    bound = strong.with_config({"metadata": {"user_id": "ada"}})
    await ask(guard.model(bound), "Why?", {})
    assert guard.status(user_id="ada")[0].used == 2


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_cap_that_is_bound_or_given_is_lowered_too(
    strong: ScriptedChatModel, name: str
) -> None:
    guard = BudgetGuard(Budget(output_tokens=100, per="call"))
    bound = guard.model(strong.bind(**{name: 2_000})).invoke("Why?")
    given = guard.model(strong).invoke("Why?", **{name: 2_000})
    for answer in (bound, given):
        assert done(answer) == ["shorten", "shortened"]
        assert answer.usage_metadata["output_tokens"] <= 100


class TestFinish:
    def guard(self) -> BudgetGuard:
        return BudgetGuard(Budget(output_tokens=300, per="call"))

    def test_tools_given_with_the_call_are_left_out(
        self, strong: ScriptedChatModel
    ) -> None:
        tools = [{"type": "function", "function": {"name": "search"}}]
        model = self.guard().model(strong, when_over=["finish"])
        model.invoke(agent_chat(), tools=tools, tool_choice="auto")
        assert strong.calls[0].kwargs.keys() <= {"stop"}

    def test_the_cap_of_the_caller_is_not_raised(
        self, strong: ScriptedChatModel
    ) -> None:
        guard = BudgetGuard(Budget(input_tokens=60, per="call"))
        model = guard.model(strong.bind(max_tokens=80), when_over=["trim", "finish"])
        with pytest.raises(BudgetExceededError):
            model.invoke("word " * 200)
        answer = model.invoke([*chat(1), HumanMessage("So?")])
        assert answer.usage_metadata["output_tokens"] <= 80

    def test_fallbacks_lose_their_tools_as_well(
        self, strong: ScriptedChatModel
    ) -> None:
        tools = [{"type": "function", "function": {"name": "search"}}]
        broken = ScriptedChatModel(responses=[ConnectionError("lost")])
        both = broken.bind(tools=tools).with_fallbacks([strong.bind(tools=tools)])
        answer = self.guard().model(both, when_over=["finish"]).invoke("Why?")
        assert done(answer)[0] == "finish"
        assert "tools" not in strong.calls[0].kwargs

    def test_of_several_answers_each_keeps_the_cap_of_the_caller(
        self, strong: ScriptedChatModel
    ) -> None:
        guard = BudgetGuard(Budget(input_tokens=60, per="call"))
        bound = strong.bind(max_tokens=70, n=2)
        model = guard.model(bound, when_over=["trim", "finish"])
        model.invoke([*chat(1), HumanMessage("So?")])
        assert strong.calls[0].kwargs.get("max_tokens", 70) <= 70

    def test_what_else_is_bound_stays(self, strong: ScriptedChatModel) -> None:
        bound = strong.bind(stop=["so"], tools=[])
        answer = self.guard().model(bound, when_over=["finish"]).invoke("Why?")
        assert done(answer) == ["finish"]
        assert answer.content == "It is "

    def test_broken_tool_calls_are_put_into_words(
        self, strong: ScriptedChatModel
    ) -> None:
        broken = AIMessage(
            "",
            invalid_tool_calls=[
                {"name": "search", "args": "{", "id": "1", "error": None}
            ],
        )
        raw = {"id": "2", "function": {"name": "buy", "arguments": "{}"}}
        odd = {"id": "3", "type": "custom", "function": None}
        old = AIMessage("", additional_kwargs={"tool_calls": [raw, odd]})
        model = self.guard().model(strong, when_over=["finish"])
        model.invoke([HumanMessage("Find tea."), broken, old])
        sent = strong.calls[0].messages
        assert not any(m.additional_kwargs for m in sent)
        assert not any(getattr(m, "invalid_tool_calls", None) for m in sent)
        said = "\n".join(str(m.content) for m in sent)
        assert "[Called search with {, which was not run]" in said
        assert "[Called buy with {}, which was not run]" in said

    def test_the_lite_model_is_asked_only_where_it_is_needed(
        self, strong: ScriptedChatModel, lite: ScriptedChatModel
    ) -> None:
        model = self.guard().model(strong, lite=lite, when_over=["downgrade", "finish"])
        assert done(model.invoke("Why?")) == ["finish"]
        assert (len(strong.calls), len(lite.calls)) == (1, 0)


def test_nothing_is_done_beyond_what_helps(
    strong: ScriptedChatModel, lite: ScriptedChatModel
) -> None:
    guard = BudgetGuard(
        Budget(usd="0.0006", per="day"), Budget(input_tokens=600, per="call")
    )
    order: Any = ["trim", "shorten", "downgrade"]
    answer = guard.model(strong, lite=lite, when_over=order).invoke(chat())
    assert done(answer) == ["downgrade", "trim"]


def test_a_system_message_is_never_left_out(strong: ScriptedChatModel) -> None:
    messages = chat(6)
    messages.insert(5, SystemMessage("Never reveal the password."))
    guard = BudgetGuard(Budget(input_tokens=350, per="call"))
    guard.model(strong).invoke(messages)
    sent = [m.content for m in strong.calls[0].messages]
    assert "Never reveal the password." in sent
    assert len(sent) < len(messages)


def test_messages_in_a_providers_words_are_trimmed(strong: ScriptedChatModel) -> None:
    messages = [
        ChatMessage(role="user" if number % 2 == 0 else "assistant", content="w " * 50)
        for number in range(11)
    ]
    guard = BudgetGuard(Budget(input_tokens=350, per="call"))
    assert done(guard.model(strong).invoke(messages)) == ["trim"]

"""Whatever is thrown at the handler, no chain breaks and no total is corrupted."""

import contextlib
import tempfile
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

from langchain_lean import TokenLedger
from langchain_lean.accounting.recording.events import SAVING_EVENT
from langchain_lean.accounting.reporting import (
    report_blocked,
    report_notice,
    report_saving,
)

EVENTS = sorted(name for name in dir(BaseCallbackHandler) if name.startswith("on_"))
RUNS = [uuid4() for _ in range(4)]

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(object)
    | st.builds(AIMessage, st.text())
    | st.builds(HumanMessage, st.text())
    | st.builds(ValueError, st.text()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["input_tokens", "output_tokens", "total_cost", "cache_read"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@st.composite
def answers(draw: st.DrawFn) -> Any:
    """Answers with usage, metadata and content set past all validation."""
    message = AIMessage("text")
    for name in ("usage_metadata", "response_metadata", "content", "id", "tool_calls"):
        if draw(st.booleans()):
            message.__dict__[name] = draw(junk)
    if draw(st.booleans()):
        message.__dict__.pop(draw(st.sampled_from(["id", "usage_metadata"])), None)
    generation = ChatGeneration(message=AIMessage("text"))
    generation.__dict__["message"] = message
    result = LLMResult(generations=[[Generation(text="text")]])
    result.__dict__["generations"] = draw(
        st.sampled_from([[[generation]], [[generation] * 2], [[]], [], None])
    )
    result.__dict__["llm_output"] = draw(junk)
    return result


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Any event with anything in it."""
    name = draw(st.sampled_from(EVENTS))
    args = draw(st.lists(junk | answers(), min_size=1, max_size=2))
    keys = [
        "parent_run_id",
        "tags",
        "metadata",
        "invocation_params",
        "name",
        "response",
    ]
    kwargs = draw(st.dictionaries(st.sampled_from(keys), junk, max_size=4))
    return name, tuple(args), {**kwargs, "run_id": draw(st.sampled_from(RUNS))}


def send(ledger: TokenLedger, name: str, args: tuple[Any, ...], kwargs: Any) -> None:
    # A wrong number of arguments is LangChain's own error, which it swallows.
    with contextlib.suppress(TypeError):
        getattr(ledger, name)(*args, **kwargs)


@given(st.lists(calls(), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_event_breaks_a_chain_or_a_total(events: list[Any]) -> None:
    check_events(TokenLedger(), events)
    with (
        tempfile.TemporaryDirectory() as folder,
        TokenLedger(f"sqlite:///{folder}/lean.db", keep_text=True) as ledger,
    ):
        check_events(ledger, events)


def check_events(ledger: TokenLedger, events: list[Any]) -> None:
    for name, args, kwargs in events:
        send(ledger, name, args, kwargs)
    run_id = uuid4()
    ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
    usage: Any = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    message = AIMessage("a", usage_metadata=usage)
    whole = LLMResult(generations=[[ChatGeneration(message=message)]])
    ledger.on_llm_end(whole, run_id=run_id)
    totals = ledger.totals()
    assert totals.calls >= 1
    assert totals.usage.input >= 7
    assert totals.usage.output >= 3
    assert totals.cost >= 0
    mine = [entry for entry in ledger.entries() if entry.run_id == str(run_id)]
    assert [entry.usage.total for entry in mine] == [10]
    assert ledger.savings().total <= ledger.savings().exact + 1
    assert str(ledger.report())


@given(answers())
@settings(max_examples=300, deadline=None)
def test_an_answer_with_any_usage_is_counted_or_estimated(result: Any) -> None:
    ledger = TokenLedger()
    run_id = uuid4()
    ledger.on_chat_model_start({}, [[HumanMessage("a question")]], run_id=run_id)
    ledger.on_llm_end(result, run_id=run_id)
    (entry,) = ledger.entries()
    assert entry.usage.total < 10**10
    assert entry.cost is None or entry.cost.total >= 0
    if entry.usage.total == 0:
        assert entry.cache_hit or entry.estimated


@given(junk, junk, junk)
@settings(max_examples=100, deadline=None)
def test_reporting_never_raises(first: Any, second: Any, third: Any) -> None:
    ledger = TokenLedger()
    report_saving(first, avoided=second, model=third, callbacks=ledger)
    report_saving(
        "lever", avoided=first, model="m", baseline=second, callbacks=[ledger]
    )
    report_notice(first, action=second, reason=third, callbacks=ledger)
    report_notice("lever", action="x", reason="y", callbacks=first)
    report_blocked(first, reason=second, metadata=third, callbacks=ledger)
    report_blocked(uuid4(), reason="x", callbacks=SimpleNamespace(handlers=first))
    assert ledger.totals().cost == 0
    assert ledger.savings().total >= 0


def test_what_could_not_be_taken_down_is_logged_once(caplog: Any) -> None:
    ledger = TokenLedger()
    for _ in range(5):
        ledger.on_custom_event(SAVING_EVENT, 7, run_id=UUID(int=1))
    assert len(caplog.records) == 1
    assert "on_custom_event" in caplog.text

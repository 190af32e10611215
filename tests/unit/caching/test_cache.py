"""A semantic cache inside of a model: what it finds, what it keeps, and for whom."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import Generation
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph

from langchain_lean import TokenLedger, scope, track
from langchain_lean.caching import cache as cache_module
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.caching.stores.base import Item
from langchain_lean.caching.stores.memory import MemoryCacheStore
from langchain_lean.caching.verifying import Candidate, ask_model
from langchain_lean.errors import ConfigurationError, StorageError
from tests.unit.caching.caches import (
    CARD,
    CARD_TOO,
    RATE,
    Ask,
    Clock,
    FailingEmbeddings,
    WordEmbeddings,
    ainvoke,
    both,
    invoke,
    lean,
    model,
    semantic,
)

SYSTEM = SystemMessage("You staff a help desk.")


@dataclass(slots=True)
class Base:
    user_id: str


@dataclass(slots=True)
class Derived(Base):
    lang: str = "en"


class Named(NamedTuple):
    user_id: str


class Computed:
    @property
    def user_id(self) -> str:
        return "bob"


class BrokenStore(MemoryCacheStore):
    """A store that cannot be reached."""

    broken = True

    def get(self, partition: str, key: str) -> str | None:
        if self.broken:
            raise StorageError("The store cannot be reached: start it.")
        return super().get(partition, key)

    def put(self, partition: str, item: Item) -> None:
        if self.broken:
            raise StorageError("The store cannot be reached: start it.")
        super().put(partition, item)


@both
class TestWhatIsFound:
    async def test_the_same_question_is_answered_from_the_cache(self, ask: Ask) -> None:
        asked = model(cache=semantic())
        first, second = await ask(asked, CARD), await ask(asked, CARD)
        assert second.text == first.text
        assert len(asked.calls) == 1
        assert lean(second)["kind"] == "exact"

    async def test_a_question_in_other_words_is_answered_from_the_cache(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic())
        first, second = await ask(asked, CARD), await ask(asked, CARD_TOO)
        assert second.text == first.text
        assert lean(second)["kind"] == "semantic"
        assert lean(second)["similarity"] == pytest.approx(0.894, abs=0.001)

    async def test_a_question_that_is_not_close_enough_is_asked(self, ask: Ask) -> None:
        asked = model(cache=semantic(threshold=0.9))
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"

    async def test_a_system_prompt_makes_no_two_questions_alike(self, ask: Ask) -> None:
        asked = model(cache=semantic())
        long = SystemMessage("Be kind. " * 200)
        await ask(asked, [long, HumanMessage(CARD)])
        assert (await ask(asked, [long, HumanMessage(RATE)])).text.endswith(RATE)

    @pytest.mark.parametrize(
        "other",
        [
            [HumanMessage(CARD)],
            [SystemMessage("You are a pirate."), HumanMessage(CARD)],
            [SYSTEM, HumanMessage(CARD, name="bob")],
            [
                SYSTEM,
                HumanMessage("Hi", name="example_user"),
                AIMessage("Hello", name="example_assistant"),
                HumanMessage(CARD),
            ],
            [SYSTEM, HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(CARD)],
        ],
    )
    async def test_what_stands_before_the_question_must_be_the_same(
        self, ask: Ask, other: list[BaseMessage]
    ) -> None:
        asked = model(cache=semantic(threshold=0))
        await ask(asked, [SYSTEM, HumanMessage(CARD)])
        assert lean(await ask(asked, other))["action"] == "missed"

    @pytest.mark.parametrize(
        "options", [{"stop": ["x"]}, {"tools": [{"type": "function"}]}, {"seed": 7}]
    )
    async def test_a_call_with_other_options_misses(
        self, ask: Ask, options: dict[str, Any]
    ) -> None:
        asked = model(cache=semantic(threshold=0))
        await ask(asked, CARD)
        assert lean(await ask(asked.bind(**options), CARD))["action"] == "missed"

    async def test_another_model_misses(self, ask: Ask) -> None:
        cache = semantic(threshold=0)
        await ask(model(cache=cache), CARD)
        other = model(cache=cache, model_name="claude-sonnet-4-5")
        assert lean(await ask(other, CARD))["action"] == "missed"

    async def test_with_earlier_turns_only_the_same_words_are_found(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic(threshold=0))
        chat = [HumanMessage("Hi"), AIMessage("Hello", id="1")]
        await ask(asked, [*chat, HumanMessage(CARD)])
        assert lean(await ask(asked, [*chat, HumanMessage(CARD_TOO)]))["action"] == (
            "missed"
        )
        again = [chat[0], AIMessage("Hello", id="2"), HumanMessage(CARD)]
        assert lean(await ask(asked, again))["kind"] == "exact"

    @pytest.mark.parametrize(
        "content",
        [
            [
                {"type": "text", "text": CARD_TOO},
                {"type": "image_url", "image_url": "x"},
            ],
            CARD_TOO + " please" * 200,
        ],
    )
    async def test_media_and_long_texts_are_found_in_the_same_words_only(
        self, ask: Ask, content: Any
    ) -> None:
        asked = model(cache=semantic(threshold=0))
        await ask(asked, CARD)
        given = [HumanMessage(content)]
        assert lean(await ask(asked, given))["action"] == "missed"
        assert lean(await ask(asked, given))["kind"] == "exact"

    async def test_what_has_no_form_of_its_own_in_a_prompt_is_not_cached(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic())
        picture = {"type": "image", "data": object()}
        for _ in range(2):
            assert not lean(await ask(asked, [HumanMessage([picture])]))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Rate this review: it is fine", "Rate this review: it is awful"),
            ("Context\n\nWhat is it?", "Context\n\nWho is it?"),
        ],
    )
    async def test_forms_that_are_filled_in_are_found_in_the_same_words_only(
        self, ask: Ask, one: str, other: str
    ) -> None:
        asked = model(cache=semantic(threshold=0, vetoes=()))
        await ask(asked, one)
        assert lean(await ask(asked, other))["action"] == "missed"
        assert lean(await ask(asked, one))["kind"] == "exact"

    @pytest.mark.parametrize(
        "other", ["where is MY card", " Where  is my card? ", "Where is my card!"]
    )
    async def test_case_spaces_and_punctuation_make_no_other_question(
        self, ask: Ask, other: str
    ) -> None:
        class Bytes(WordEmbeddings):
            def embed_query(self, text: str) -> list[float]:
                return [1.0, float(len(text) + text.count("M") * 7)]

        asked = model(cache=SemanticCache(Bytes(), threshold=1))
        first = await ask(asked, CARD)
        found = await ask(asked, other)
        assert found.text == first.text
        assert lean(found)["kind"] in ("exact", "semantic")

    async def test_a_question_in_blocks_of_text_is_found(self, ask: Ask) -> None:
        asked = model(cache=semantic())
        await ask(asked, CARD)
        blocks = [HumanMessage([{"type": "text", "text": CARD_TOO}])]
        assert lean(await ask(asked, blocks))["kind"] == "semantic"

    async def test_the_nearest_of_several_is_served(self, ask: Ask) -> None:
        store = MemoryCacheStore()
        strict = model(cache=semantic(threshold=1, store=store))
        for question in ("Where is my card now then?", RATE, CARD):
            await ask(strict, question)
        asked = model(cache=semantic(threshold=0.5, store=store))
        assert (await ask(asked, CARD_TOO)).text.endswith("card?")


class TestTexts:
    """Prompts of models that take a text, which may be anything."""

    def test_a_text_that_looks_like_messages_is_told_from_another(self) -> None:
        cache = semantic(threshold=0)
        one, other = (
            f'[{{"lc": 1, "type": "", "id": [], "kwargs": {{}}, "x": {x}}}]'
            for x in (1, 2)
        )
        cache.update(one, "llm", [Generation(text="yes")])
        assert cache.lookup(one, "llm") == [Generation(text="yes")]
        assert cache.lookup(other, "llm") is None

    @pytest.mark.parametrize(
        ("one", "other"), [("{}", "[]"), ('""', "{}"), (CARD, CARD_TOO)]
    )
    def test_a_text_is_found_by_the_same_text_only(self, one: str, other: str) -> None:
        cache = semantic(threshold=0)
        cache.update(one, "llm", [Generation(text="yes")])
        assert cache.lookup(one, "llm") == [Generation(text="yes")]
        assert cache.lookup(other, "llm") is None


@both
class TestWhatIsKept:
    @pytest.mark.parametrize(
        ("answer", "option"),
        [
            (
                AIMessage("", tool_calls=[tool_call(name="f", args={}, id="1")]),
                "tool_calls",
            ),
            (
                AIMessage("It is", response_metadata={"stop_reason": "max_tokens"}),
                "truncated",
            ),
            (
                AIMessage("It", response_metadata={"finish_reason": "content_filter"}),
                "truncated",
            ),
        ],
    )
    async def test_some_answers_are_kept_only_if_asked_for(
        self, ask: Ask, answer: AIMessage, option: str
    ) -> None:
        asked = model(answer, cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["action"] == "missed"
        asked = model(answer, cache=semantic(**{option: True}))
        await ask(asked, CARD)
        found = await ask(asked, CARD)
        assert lean(found)["kind"] == "exact"
        assert found.tool_calls == answer.tool_calls

    async def test_sampled_answers_are_kept_only_if_asked_for(self, ask: Ask) -> None:
        asked = model(cache=semantic()).bind(temperature=0.7)
        await ask(asked, CARD)
        assert not lean(await ask(asked, CARD))
        asked = model(cache=semantic(sampled=True)).bind(temperature=0.7)
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["kind"] == "exact"

    @pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"temperature": 0.0}])
    async def test_a_temperature_of_0_or_none_is_kept(
        self, ask: Ask, options: dict[str, Any]
    ) -> None:
        asked = model(cache=semantic()).bind(**options)
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["kind"] == "exact"

    @pytest.mark.parametrize(
        "said",
        [
            {"stop_reason": "refusal"},
            {"stop_reason": "pause_turn"},
            {"stopReason": "model_context_window_exceeded"},
            {"finish_reason": "RECITATION"},
            {"finish_reason": "error"},
            {"status": "failed"},
        ],
    )
    async def test_an_answer_that_ended_in_another_way_is_not_kept(
        self, ask: Ask, said: dict[str, str]
    ) -> None:
        asked = model(AIMessage("It", response_metadata=said), cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["action"] == "missed"

    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "thinking", "thinking": "Hm.", "signature": "x"}],
            [{"type": "refusal", "refusal": "I will not."}],
        ],
    )
    async def test_thoughts_and_refusals_alone_are_not_kept(
        self, ask: Ask, content: list[Any]
    ) -> None:
        asked = model(AIMessage(content), cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["action"] == "missed"

    async def test_what_json_cannot_hold_is_not_kept_and_said_so_once(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = AIMessage("Hi", additional_kwargs={"signature": b"abc"})
        asked = model(answer, cache=semantic())
        for _ in range(3):
            found = await ask(asked, CARD)
            assert found.additional_kwargs == {"signature": b"abc"}
        assert caplog.text.count("such as bytes") == 1

    async def test_options_without_a_form_of_their_own_are_not_cached(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Local:
            pass

        asked = model(cache=semantic())
        for option in (Local(), Local):
            for _ in range(2):
                assert not lean(await ask(asked.bind(extra=option), CARD))
        assert caplog.text.count("a local class") == 1

    @pytest.mark.parametrize("reason", ["stopstop", "FINISH", "STOP", "end_turn"])
    async def test_an_answer_that_ended_by_itself_is_kept(
        self, ask: Ask, reason: str
    ) -> None:
        said = {"finish_reason": reason}
        asked = model(AIMessage("It", response_metadata=said), cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["kind"] == "exact"

    async def test_empty_answers_are_not_kept(self, ask: Ask) -> None:
        asked = model("  ", cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["action"] == "missed"

    async def test_answers_that_a_budget_changed_are_not_kept(self, ask: Ask) -> None:
        done = {"lever": "budget", "action": "trim", "reason": "it was too long"}
        changed = AIMessage("Short.", response_metadata={"lean": [done]})
        asked = model(changed, cache=semantic())
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD))["action"] == "missed"

    async def test_an_answer_keeps_all_but_its_id(self, ask: Ask) -> None:
        given = AIMessage(
            [{"type": "text", "text": "It is here."}],
            additional_kwargs={"refusal": None},
            id="mine",
        )
        asked = model(given, cache=semantic())
        first, found = await ask(asked, CARD), await ask(asked, CARD)
        assert found.content == first.content
        assert found.additional_kwargs == {"refusal": None}
        assert found.id != "mine"
        assert (
            found.usage_metadata["input_tokens"] == first.usage_metadata["input_tokens"]
        )

    async def test_what_a_caller_does_to_a_hit_changes_no_later_one(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic())
        await ask(asked, CARD)
        found = await ask(asked, CARD)
        found.response_metadata["lean"].append("mine")
        found.content = "changed"
        again = await ask(asked, CARD)
        assert again.text.startswith("answer 1")
        assert len(again.response_metadata["lean"]) == 1

    async def test_an_answer_is_kept_for_the_time_given(self, ask: Ask) -> None:
        clock = Clock()
        store = MemoryCacheStore(clock=clock)
        asked = model(cache=semantic(ttl=60, store=store, clock=clock))
        await ask(asked, CARD)
        clock.now += 59
        assert lean(await ask(asked, CARD_TOO))["age_seconds"] == 59
        clock.now += 1
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"

    async def test_the_least_recently_used_leave(self, ask: Ask) -> None:
        asked = model(cache=semantic(max_entries=2))
        for question in (CARD, RATE, CARD, "Hello?"):
            await ask(asked, question)
        assert lean(await ask(asked, CARD))["kind"] == "exact"
        assert lean(await ask(asked, RATE))["action"] == "missed"


@both
class TestSafety:
    async def test_questions_that_differ_in_a_number_are_vetoed(self, ask: Ask) -> None:
        asked = model(cache=semantic(threshold=0.5))
        await ask(asked, "Can I send 10 euros to a friend?")
        found = await ask(asked, "Can I send 20 euros to a friend?")
        assert lean(found)["action"] == "missed"
        assert "number" in lean(found)["reason"]

    async def test_vetoes_of_ones_own_are_asked(self, ask: Ask) -> None:
        def never(one: str, other: str) -> str | None:
            return "it is Sunday"

        asked = model(cache=semantic(vetoes=[never]))
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD_TOO))["reason"] == "it is Sunday"

    async def test_where_the_nearest_is_vetoed_the_next_is_served(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic(threshold=0.5))
        await ask(asked, "Where is my card 7?")
        await ask(asked, "So where is my card?")
        found = await ask(asked, "Where is my card 8?")
        assert lean(found)["action"] == "missed"
        assert lean(await ask(asked, "Where is my card then?"))["kind"] == "semantic"

    async def test_a_verifier_has_the_last_word(self, ask: Ask) -> None:
        seen: list[Candidate] = []

        def verify(candidate: Candidate) -> bool:
            seen.append(candidate)
            return False

        asked = model(cache=semantic(verify=verify))
        first = await ask(asked, CARD)
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"
        [candidate] = seen
        assert candidate.question == CARD_TOO
        assert candidate.cached_question == CARD
        assert candidate.answer == first.text

    @pytest.mark.parametrize("said", ["no", "yes", None, 1])
    async def test_a_verifier_that_says_neither_true_nor_false_serves_nothing(
        self, ask: Ask, said: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = model(cache=semantic(verify=lambda candidate: said))
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"
        assert "says True or False" in caplog.text

    @pytest.mark.parametrize("verdict", [True, False])
    async def test_an_async_verifier_is_waited_for_and_refuses_where_it_cannot_be(
        self, ask: Ask, verdict: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def verify(candidate: Candidate) -> bool:
            return verdict

        asked = model(cache=semantic(verify=lambda candidate: verify(candidate)))
        await ask(asked, CARD)
        found = lean(await ask(asked, CARD_TOO))
        served = verdict and ask is ainvoke
        assert found["action"] == ("hit" if served else "missed")
        assert ("needs ainvoke" in caplog.text) is (ask is invoke)

    async def test_a_verifier_that_fails_serves_nothing(self, ask: Ask) -> None:
        def verify(candidate: Candidate) -> bool:
            raise TimeoutError

        asked = model(cache=semantic(verify=verify))
        await ask(asked, CARD)
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"

    @pytest.mark.parametrize(
        ("said", "action"), [("Yes.", "hit"), ("no", "missed"), ("maybe", "missed")]
    )
    async def test_a_cheap_model_verifies(
        self, ask: Ask, said: str, action: str
    ) -> None:
        judge = model(said, model_name="judge")
        asked = model(cache=semantic(verify=ask_model(judge)))
        with track() as ledger:
            await ask(asked, CARD)
            assert lean(await ask(asked, CARD_TOO))["action"] == action
        [entry] = [entry for entry in ledger.entries() if entry.model == "judge"]
        assert entry.source == "cache"

    async def test_what_a_verifier_asks_is_not_cached(self, ask: Ask) -> None:
        cache = semantic(threshold=0)
        judge = model("yes", cache=cache, model_name="judge")
        verified = SemanticCache(
            WordEmbeddings(), threshold=0.5, verify=ask_model(judge)
        )
        judge.cache = verified
        asked = model(cache=verified)
        for question in (CARD, CARD_TOO, CARD + " Now?"):
            await ask(asked, question)
        assert len(judge.calls) == 2

    async def test_an_entry_that_cannot_be_read_is_removed_and_logged(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = MemoryCacheStore()
        asked = model(cache=semantic(store=store))
        await ask(asked, CARD)
        [((partition, key), (item, _))] = store._items.items()
        for text in ("{", "[]", "{}", '{"version": 1}', "null"):
            store.put(partition, type(item)(key=key, value=text, vector=item.vector))
            assert lean(await ask(asked, CARD))["action"] == "missed"
        assert caplog.text.count("could not be read") == 5
        assert CARD not in caplog.text

    async def test_a_store_that_is_down_is_a_miss(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = BrokenStore()
        asked = model(cache=semantic(store=store))
        for number in (1, 2):
            assert f"answer {number}" in (await ask(asked, CARD)).text
        assert caplog.text.count("start it") == 1
        store.broken = False
        assert "answer 3" in (await ask(asked, CARD)).text
        store.broken = True
        assert "answer 4" in (await ask(asked, CARD)).text
        assert caplog.text.count("start it") == 2

    async def test_a_store_that_is_down_raises_if_asked_to(self, ask: Ask) -> None:
        asked = model(cache=semantic(store=BrokenStore(), on_error="raise"))
        with pytest.raises(StorageError, match="start it"):
            await ask(asked, CARD)

    async def test_embeddings_that_fail_are_a_miss_and_tell_nobody_the_question(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = model(cache=SemanticCache(FailingEmbeddings()))
        await ask(asked, CARD)
        assert "answer 2" in (await ask(asked, CARD_TOO)).text
        assert "TimeoutError" in caplog.text
        assert "card" not in caplog.text


@both
class TestTenants:
    @pytest.mark.parametrize("kind", ["slots", "tuple", "property", "mapping"])
    async def test_a_user_of_a_graph_s_context_is_seen_in_any_shape(
        self, ask: Ask, kind: str
    ) -> None:
        asked = model(cache=semantic(tenant_by="user_id"))

        def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [asked.invoke(state["messages"])]}

        built = StateGraph(MessagesState, context_schema=Any)
        agent = built.add_node("a", answer).add_edge(START, "a").compile()
        context: Any = {
            "slots": Derived("bob"),
            "tuple": Named("bob"),
            "property": Computed(),
            "mapping": {"user_id": "bob"},
        }[kind]
        with scope(user_id="ada"):
            await ask(asked, CARD)
            state = agent.invoke({"messages": [HumanMessage(CARD)]}, context=context)
            assert not lean(state["messages"][-1])

    async def test_without_a_tenant_nothing_is_read_or_written(self, ask: Ask) -> None:
        asked = model(cache=semantic(tenant_by="user_id"))
        with scope(user_id="ada"):
            await ask(asked, CARD)
        assert not lean(await ask(asked, CARD))

    async def test_a_call_without_a_tenant_is_said_to_be_uncached_once(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = model(cache=semantic(tenant_by="user_id"))
        for _ in range(3):
            await ask(asked, CARD)
        assert caplog.text.count("without a tenant is not cached") == 1

    async def test_all_answers_of_a_tenant_can_be_removed(self, ask: Ask) -> None:
        cache = semantic(tenant_by="user_id", tags=["tenant:ada"])
        asked = model(cache=cache)
        for user in ("ada", "bob"):
            with scope(user_id=user):
                for question in (CARD, RATE):
                    await ask(asked, question)
        if ask is ainvoke:
            assert await cache.ainvalidate(tenant="ada") == 2
        else:
            assert cache.invalidate(tenant="ada") == 2
        with scope(user_id="ada"):
            assert lean(await ask(asked, CARD))["action"] == "missed"
        with scope(user_id="bob"):
            assert lean(await ask(asked, CARD))["kind"] == "exact"

    async def test_a_tenant_reads_its_own_answers_only(self, ask: Ask) -> None:
        asked = model(cache=semantic(tenant_by="user_id", threshold=0))
        with scope(user_id="ada"):
            await ask(asked, CARD)
            assert lean(await ask(asked, CARD_TOO))["kind"] == "semantic"
        with scope(user_id="bob"):
            assert lean(await ask(asked, CARD))["action"] == "missed"

    async def test_where_another_user_runs_nothing_is_read_or_written(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic(tenant_by="user_id"))
        chain = (RunnableLambda(lambda x: x) | asked).with_config(
            metadata={"user_id": "bob"}
        )
        with scope(user_id="ada"):
            await ask(asked, CARD)
            assert not lean(await ask(chain, CARD))
        with scope(user_id="bob"):
            assert lean(await ask(chain, CARD))["action"] == "missed"
            assert lean(await ask(chain, CARD))["kind"] == "exact"

    async def test_no_crafted_tenant_reads_what_another_wrote(self, ask: Ask) -> None:
        cache = semantic(tenant_by="user_id", threshold=0)
        pieces = ["ada", "", '"', "]", "[", ",", ":", "\x00", "\ud800", "{", "*", "ă"]
        tenants = {f"{a}{b}{c}" for a in pieces for b in pieces for c in pieces}
        tenants = sorted(tenants - {""}, key=repr)[:1000]
        asked = model(cache=cache)
        for tenant in tenants:
            with scope(user_id=tenant):
                prompt = f"{tenant}" if len(tenant) % 2 else CARD
                assert lean(await ask(asked, [HumanMessage(prompt)]))["action"] == (
                    "missed"
                )
        assert len(tenants) == 1000


class TestWithoutEmbeddings:
    def test_it_finds_the_same_words_only_and_says_so_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache_module._say_exact_only.cache_clear()
        with caplog.at_level(logging.WARNING):
            asked = model(cache=SemanticCache())
            SemanticCache()
        assert caplog.text.count("in the same words") == 1
        asked.invoke(CARD)
        assert lean(asked.invoke(CARD_TOO))["action"] == "missed"
        assert lean(asked.invoke(CARD))["kind"] == "exact"


@both
class TestRemoving:
    async def test_everything_is_cleared(self, ask: Ask) -> None:
        cache = semantic()
        asked = model(cache=cache)
        await ask(asked, CARD)
        await (cache.aclear() if ask is ainvoke else invoke_(cache.clear))
        assert lean(await ask(asked, CARD_TOO))["action"] == "missed"

    async def test_a_tag_removes_its_answers_of_all_tenants(self, ask: Ask) -> None:
        cache = semantic(tags=["prices"], tenant_by="user_id")
        asked = model(cache=cache)
        for user in ("ada", "bob"):
            with scope(user_id=user):
                await ask(asked, CARD)
        if ask is invoke:
            removed = cache.invalidate(tag="prices"), cache.invalidate(tag="other")
        else:
            removed = (
                await cache.ainvalidate(tag="prices"),
                await cache.ainvalidate(tag="other"),
            )
        assert removed == (2, 0)
        with scope(user_id="ada"):
            assert lean(await ask(asked, CARD_TOO))["action"] == "missed"


@both
class TestTheLedger:
    async def test_it_shows_how_often_the_cache_answered_and_what_that_saved(
        self, ask: Ask
    ) -> None:
        asked = model(cache=semantic())
        with track(TokenLedger()) as ledger:
            for question in (CARD, CARD, CARD_TOO, RATE):
                await ask(asked, question)
        saved = ledger.savings().levers["cache"]
        assert (saved.count, saved.misses, saved.hit_rate) == (2, 2, 0.5)
        assert saved.exact > 0
        assert saved.counterfactual > 0
        assert saved.baselines
        assert "cache answered 50 % of 4 requests" in str(ledger.report())

    async def test_a_hit_saves_the_seconds_that_the_model_took(self, ask: Ask) -> None:
        timer = Clock()

        def slow(messages: Any) -> str:
            timer.now += 3
            return "after three seconds"

        asked = model(slow, cache=semantic(timer=timer))
        with track(TokenLedger()) as ledger:
            for question in (CARD, CARD, CARD_TOO):
                await ask(asked, question)
        assert ledger.savings().levers["cache"].seconds == 6

    async def test_the_embeddings_of_a_provider_are_the_cache_s_own_cost(
        self, ask: Ask
    ) -> None:
        from langchain_lean import MeteredEmbeddings

        metered = MeteredEmbeddings(
            WordEmbeddings(),
            model="text-embedding-3-small",
            provider="openai",
            source="cache",
        )
        asked = model(cache=SemanticCache(metered))
        with track(TokenLedger()) as ledger:
            await ask(asked, CARD)
        assert ledger.savings().own_cost["cache"] > 0


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"threshold": 1.5}, "threshold= is a number from 0 to 1"),
            ({"max_error_rate": -1}, "max_error_rate= is a number"),
            ({"max_error_rate": 0}, "max_error_rate= is a number"),
            ({"max_error_rate": 0.1, "threshold": 0.9}, "no threshold="),
            ({"max_error_rate": 0.1, "embeddings": None}, "give it embeddings"),
            ({"vetoes": None}, r"\(\) for none"),
            ({"vetoes": [1]}, r"\(\) for none"),
            ({"verify": model()}, "ask_model"),
            ({"store": "cache.db"}, "not in 'cache.db'"),
            ({"store": "redis:/user:secret@host"}, "not in 'that URL'"),
            ({"embeddings": WordEmbeddings}, "local_embeddings"),
            ({"ttl": 0}, "ttl= is a number"),
            ({"max_entries": 0}, "max_entries= is a whole number"),
            ({"store": "mongodb://x"}, "'sqlite:///file.db' or 'redis://"),
            ({"store": 3}, "not in 'int'"),
            ({"on_error": "ignore"}, 'on_error= is "miss" or "raise"'),
            ({"tenant_by": ""}, "tenant_by="),
            ({"tags": "prices"}, "Tags are a list"),
            ({"verify": 3}, "Give verify= a function"),
            ({"embeddings": "openai"}, "SemanticCache takes embeddings"),
        ],
    )
    def test_what_makes_no_sense_is_refused_in_a_sentence(
        self, options: dict[str, Any], said: str
    ) -> None:
        given = {"embeddings": WordEmbeddings(), **options}
        with pytest.raises(ConfigurationError, match=said):
            SemanticCache(given.pop("embeddings"), **given)

    @pytest.mark.parametrize("given", [{}, {"tag": "a", "tenant": "b"}, {"tag": ""}])
    def test_what_is_to_be_removed_must_be_said(self, given: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="Say what to remove"):
            semantic().invalidate(**given)

    def test_clear_takes_no_part_for_the_whole(self) -> None:
        with pytest.raises(ConfigurationError, match="clear\\(\\) removes everything"):
            semantic().clear(user_id="ada")

    async def test_update_without_a_look_up_keeps_the_answer(self) -> None:
        cache = semantic()
        await cache.aupdate("text", "llm", [Generation(text="a")])
        assert await cache.alookup("text", "llm") == [Generation(text="a")]


async def invoke_(call: Any) -> None:
    call()

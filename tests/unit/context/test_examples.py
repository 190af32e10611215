"""Few-shot examples within a budget, and how few of them are enough."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    PromptTemplate,
)

from langchain_lean import MeteredEmbeddings, TokenCounter, TokenLedger, track
from langchain_lean.context.examples import (
    BudgetExampleSelector,
    FewestExamples,
    afewest_examples,
    fewest_examples,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel
from tests.unit.accounting.conftest import PRICES

Select = Callable[[BudgetExampleSelector, dict[str, Any]], Awaitable[list[Any]]]

CHAT = ChatPromptTemplate([("human", "{input}"), ("ai", "{output}")])
TEXT = PromptTemplate.from_template("Q: {input}\nA: {output}")


class Words(Embeddings):
    """Embeds the four words it knows, a dimension each; remembers what it was asked."""

    known = ("card", "rain", "code", "cat")

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.queries = 0

    def _vector(self, text: str) -> list[float]:
        return [float(text.lower().split().count(word)) for word in self.known]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries += 1
        return self._vector(text)


class AsyncOnly(Words):
    """Can only be waited for, and lets others run meanwhile."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("The sync form was called.")

    def embed_query(self, text: str) -> list[float]:
        raise AssertionError("The sync form was called.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return super().embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        await asyncio.sleep(0)
        return super().embed_query(text)


class Lengths(Embeddings):
    """A direction for any text, by its length."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [math.cos(len(text)), math.sin(len(text))]


def example(question: str, answer: str = "Yes.") -> dict[str, str]:
    return {"input": question, "output": answer}


RAIN, CARD, CARD_RAIN, CODE = (
    example("rain"),
    example("card"),
    example("card rain"),
    example("code"),
)
ALL = [RAIN, CARD_RAIN, CARD, CODE]


def selector(examples: Sequence[Any] = ALL, **options: Any) -> BudgetExampleSelector:
    return BudgetExampleSelector(examples, **{"embeddings": Words()} | options)


def messages_tokens(examples: Sequence[dict[str, str]], counter: TokenCounter) -> int:
    messages: list[Any] = []
    for each in examples:
        messages += HumanMessage(each["input"]), AIMessage(each["output"])
    return counter.count(messages)


async def select(chooser: BudgetExampleSelector, given: dict[str, Any]) -> list[Any]:
    return chooser.select_examples(given)


async def aselect(chooser: BudgetExampleSelector, given: dict[str, Any]) -> list[Any]:
    return await chooser.aselect_examples(given)


both = pytest.mark.parametrize("select", [select, aselect])


class TestChoice:
    @both
    async def test_the_nearest_are_chosen(self, select: Select) -> None:
        chosen = await select(selector(k=2), {"input": "my card"})
        assert sorted(each["input"] for each in chosen) == ["card", "card rain"]

    def test_the_chosen_stand_in_the_order_of_the_list(self) -> None:
        chosen = selector(k=2).select_examples({"input": "my card"})
        assert chosen == [CARD_RAIN, CARD]  # the nearer one last

    def test_inputs_that_choose_the_same_get_the_same_prompt(self) -> None:
        chooser = selector(
            k=2
        )  # the one is nearest to `card rain`, the other to `card`
        one = chooser.select_examples({"input": "card card rain"})
        other = chooser.select_examples({"input": "card card card rain"})
        assert one == other

    def test_none_is_chosen_below_the_least_similarity(self) -> None:
        assert selector(min_similarity=0.9).select_examples({"input": "card"}) == [CARD]

    def test_an_equal_text_reaches_a_similarity_of_1(self) -> None:
        chooser = selector([example("card rain code")] * 2, min_similarity=1)
        chosen = chooser.select_examples({"input": "card rain code"})
        assert chosen == [example("card rain code")]

    def test_where_none_is_near_the_prompt_is_zero_shot(self) -> None:
        assert selector().select_examples({"input": "cat"}) == []

    def test_a_text_without_a_direction_is_near_to_nothing(self) -> None:
        assert selector().select_examples({"input": ""}) == []

    def test_of_equally_near_ones_the_first_are_chosen(self) -> None:
        many = [example("card", answer) for answer in "abcd"]
        assert selector(many, k=2).select_examples({"input": "card"}) == many[:2]

    def test_an_example_given_twice_counts_once(self) -> None:
        embeddings = Words()
        chooser = selector([CARD, RAIN, dict(CARD)], embeddings=embeddings)
        assert chooser.select_examples({"input": "card"}) == [CARD]
        assert embeddings.embedded == ["card", "rain"]

    def test_what_is_done_to_a_chosen_example_changes_no_other_choice(self) -> None:
        chooser = selector()
        chooser.select_examples({"input": "code"})[0]["output"] = "No."
        assert chooser.select_examples({"input": "code"}) == [CODE]

    @both
    async def test_no_examples_ask_no_embeddings(self, select: Select) -> None:
        embeddings = Words()
        assert await select(selector([], embeddings=embeddings), {}) == []
        assert (embeddings.embedded, embeddings.queries) == ([], 0)

    def test_local_embeddings_are_the_default(self) -> None:
        if importlib.util.find_spec("wordllama") is None:
            pytest.skip("needs the local extra")
        stolen = example("My bank card was stolen yesterday.")
        snow = example("It will snow in the mountains tomorrow.")
        chooser = BudgetExampleSelector([snow, stolen])
        asked = {"input": "Someone took my credit card."}
        assert chooser.select_examples(asked) == [stolen]

    def test_without_the_local_extra_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("langchain_lean.embeddings.find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"pip install .*\[local\]"):
            BudgetExampleSelector(ALL)


class TestBudget:
    def test_one_that_does_not_fit_is_passed_over_for_a_smaller_one(self) -> None:
        long = example("card", "word " * 500)
        chooser = selector([long, CARD_RAIN], max_tokens=50)
        assert chooser.select_examples({"input": "card"}) == [CARD_RAIN]

    def test_the_last_token_can_be_used_and_not_one_more(self) -> None:
        counter = TokenCounter()
        needed = messages_tokens([CARD_RAIN, CARD], counter)
        for spare, count in ((0, 2), (-1, 1)):
            chooser = selector(
                example_prompt=CHAT, max_tokens=needed + spare, counter=counter
            )
            assert len(chooser.select_examples({"input": "card"})) == count

    def test_a_text_prompt_is_counted_as_it_is_joined(self) -> None:
        counter = TokenCounter()
        text = FewShotPromptTemplate(
            examples=[CARD_RAIN, CARD], example_prompt=TEXT, suffix=""
        ).format()
        for spare, count in ((0, 2), (-1, 1)):
            chooser = selector(
                example_prompt=TEXT,
                max_tokens=counter.count(text) + spare,
                counter=counter,
            )
            assert len(chooser.select_examples({"input": "card"})) == count

    def test_tokens_are_counted_as_the_model_reported_them(self) -> None:
        counter = TokenCounter(encoding="utf8")
        messages = CHAT.format_messages(**CARD)
        plain = counter.count(messages)
        for _ in range(50):
            counter.observe(messages, "greedy", plain * 3)
        options = {"max_tokens": plain, "counter": counter, "example_prompt": CHAT}
        asked = {"input": "card"}
        assert selector([CARD], **options).select_examples(asked) == [CARD]
        assert selector([CARD], model="greedy", **options).select_examples(asked) == []

    @settings(max_examples=150, deadline=None)
    @given(
        texts=st.lists(
            st.tuples(
                st.one_of(
                    st.sampled_from(["", " ", "你好，世界" * 20, "word " * 400, "{x}"]),
                    st.text(max_size=30),
                ),
                st.text(max_size=60),
            ),
            max_size=8,
        ),
        asked=st.text(max_size=20),
        k=st.integers(1, 5),
        max_tokens=st.integers(1, 120),
        prompt=st.sampled_from([CHAT, TEXT, None]),
    )
    def test_no_choice_breaks_a_limit_and_all_are_in_order(
        self,
        texts: list[tuple[str, str]],
        asked: str,
        k: int,
        max_tokens: int,
        prompt: Any,
    ) -> None:
        examples = [example(*each) for each in texts]
        counter = TokenCounter(encoding="utf8")
        chosen = BudgetExampleSelector(
            examples,
            k=k,
            max_tokens=max_tokens,
            min_similarity=-1,
            example_prompt=prompt,
            embeddings=Lengths(),
            counter=counter,
        ).select_examples({"input": asked})
        assert len(chosen) <= k
        if prompt is TEXT:
            shown = "\n\n".join(TEXT.format(**each) for each in chosen)
            assert counter.count(shown) <= max_tokens
        else:
            assert messages_tokens(chosen, counter) <= max_tokens
        positions = [examples.index(each) for each in chosen]
        assert positions == sorted(set(positions))


class TestKeys:
    def test_only_what_the_input_shares_with_the_examples_is_compared(self) -> None:
        embeddings = Words()
        chooser = selector(embeddings=embeddings)
        chosen = chooser.select_examples({"input": "code", "history": [], "user": "x"})
        assert chosen == [CODE]
        assert "Yes." not in " ".join(embeddings.embedded)

    def test_a_key_that_only_some_examples_have_is_not_compared(self) -> None:
        chooser = selector([{**CARD, "topic": "cat"}, CODE])
        chosen = chooser.select_examples({"input": "code", "topic": "cat"})
        assert chosen == [CODE]

    def test_input_keys_say_what_is_compared(self) -> None:
        examples = [
            {"input": "card", "topic": "rain"},
            {"input": "rain", "topic": "card"},
        ]
        chooser = selector(examples, input_keys=["topic"])
        assert chooser.select_examples({"input": "card", "topic": "card"}) == [
            examples[1]
        ]

    @both
    @pytest.mark.parametrize("given", [{}, {"question": "card"}, {"input": ["card"]}])
    async def test_an_input_without_the_text_is_told_what_to_do(
        self, select: Select, given: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError, match=r"needs a text .*'input'"):
            await select(selector(), given)

    def test_examples_without_a_key_in_common_cannot_be_compared(self) -> None:
        with pytest.raises(ConfigurationError, match="none is in all"):
            selector([CARD, {"question": "card"}]).select_examples({"input": "card"})

    def test_an_input_without_a_named_key_is_told_which(self) -> None:
        with pytest.raises(ConfigurationError, match="'input'"):
            selector(input_keys=["input"]).select_examples({"output": "card"})


class TestEmbedding:
    def test_nothing_is_embedded_before_the_first_selection(self) -> None:
        embeddings = Words()
        selector(embeddings=embeddings)
        assert embeddings.embedded == []

    @both
    async def test_examples_are_embedded_once(self, select: Select) -> None:
        embeddings = Words()
        chooser = selector(embeddings=embeddings)
        for _ in range(3):
            await select(chooser, {"input": "card"})
        assert embeddings.embedded == [each["input"] for each in ALL]
        assert embeddings.queries == 3

    @both
    async def test_only_an_added_example_is_embedded_anew(self, select: Select) -> None:
        embeddings = Words()
        chooser = selector(embeddings=embeddings)
        await select(chooser, {"input": "cat"})
        chooser.add_example(example("cat"))
        await chooser.aadd_example(example("cat cat"))
        await chooser.aadd_example(example("cat"))
        chosen = await select(chooser, {"input": "cat"})
        assert chosen == [example("cat"), example("cat cat")]
        assert embeddings.embedded[len(ALL) :] == ["cat", "cat cat"]

    async def test_the_async_form_waits_for_the_async_embeddings(self) -> None:
        chooser = selector(embeddings=AsyncOnly())
        assert await chooser.aselect_examples({"input": "code"}) == [CODE]

    async def test_tasks_at_once_embed_the_examples_once(self) -> None:
        embeddings = AsyncOnly()
        chooser = selector(embeddings=embeddings)
        asked = [chooser.aselect_examples({"input": "code"}) for _ in range(20)]
        assert await asyncio.gather(*asked) == [[CODE]] * 20
        assert embeddings.embedded == [each["input"] for each in ALL]

    def test_threads_at_once_embed_the_examples_once(self) -> None:
        embeddings = Words()
        chooser = selector(embeddings=embeddings)
        together = threading.Barrier(8)

        def ask(_: int) -> Any:
            together.wait(timeout=5)
            return chooser.select_examples({"input": "code"})

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [[CODE]] * 8
        assert embeddings.embedded == [each["input"] for each in ALL]

    def test_one_selector_serves_one_event_loop_after_another(self) -> None:
        chooser = selector(embeddings=AsyncOnly())
        for _ in range(2):
            chosen = asyncio.run(chooser.aselect_examples({"input": "code"}))
            assert chosen == [CODE]

    def test_threads_may_add_while_others_select(self) -> None:
        chooser = selector([], k=100, max_tokens=10_000)

        def work(number: int) -> int:
            chooser.add_example(example("card", str(number)))
            return len(chooser.select_examples({"input": "card"}))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(100)))
        assert len(chooser.select_examples({"input": "card"})) == 100

    def test_after_a_failure_the_next_selection_embeds_again(self) -> None:
        class Flaky(Words):
            down = True

            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                if self.down:
                    raise ConnectionError
                return super().embed_documents(texts)

        embeddings = Flaky()
        chooser = selector(embeddings=embeddings)
        with pytest.raises(ConnectionError):
            chooser.select_examples({"input": "code"})
        embeddings.down = False
        assert chooser.select_examples({"input": "code"}) == [CODE]

    @pytest.mark.parametrize("vectors", [[], [[1.0]], [[math.nan]] * 4, [1.0] * 4])
    def test_vectors_that_cannot_be_compared_are_refused(self, vectors: Any) -> None:
        class Broken(Words):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return list(vectors)

        with pytest.raises(ConfigurationError, match="4 vectors of finite numbers"):
            selector(embeddings=Broken()).select_examples({"input": "card"})


class TestSetUp:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"k": 0}, "k= is a whole number of at least 1, not 0"),
            ({"k": True}, "k= is a whole number"),
            ({"k": 2.0}, "k= is a whole number"),
            ({"max_tokens": 0}, "max_tokens= is a whole number of at least 1"),
            ({"max_tokens": math.nan}, "max_tokens= is a whole number"),
            ({"max_tokens": True}, "max_tokens= is a whole number"),
            ({"min_similarity": 1.01}, "min_similarity= is a number from -1 to 1"),
            ({"min_similarity": -2}, "min_similarity= is a number from -1 to 1"),
            ({"min_similarity": math.nan}, "min_similarity= is a number"),
            ({"min_similarity": False}, "min_similarity= is a number"),
            ({"min_similarity": "0.2"}, "min_similarity= is a number"),
            ({"input_keys": "input"}, "input_keys= is a list of the names"),
            ({"input_keys": []}, "input_keys= is a list of the names"),
            ({"input_keys": ["topic"]}, "Example 1 lacks 'topic', which input_keys="),
            ({"example_prompt": "{input}"}, "example_prompt= is a PromptTemplate"),
            (
                {"example_prompt": PromptTemplate.from_template("{text}")},
                "Example 1 lacks 'text', which example_prompt=",
            ),
            ({"embeddings": "openai:small"}, "embeddings= are LangChain Embeddings"),
            ({"provider": "openai"}, "give model= too"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=says):
            selector(**options)

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ("card", "Example 2 is a dictionary of texts, not str"),
            (("input", "card"), "Example 2 is a dictionary of texts, not tuple"),
            ({"input": 1}, "has int at 'input'"),
            ({1: "card"}, "dictionary of texts"),
        ],
    )
    def test_an_example_that_is_no_dictionary_of_texts_is_refused(
        self, bad: Any, says: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=says):
            selector([CARD, bad])
        with pytest.raises(ConfigurationError, match=says):
            selector([CARD]).add_example(bad)

    def test_an_added_example_needs_the_keys_of_the_others(self) -> None:
        chooser = selector(input_keys=["input"])
        with pytest.raises(ConfigurationError, match="Example 5 lacks 'input'"):
            chooser.add_example({"question": "card"})


def few_shot(chooser: BudgetExampleSelector, **options: Any) -> ChatPromptTemplate:
    shots = FewShotChatMessagePromptTemplate(
        example_selector=chooser, example_prompt=CHAT, **options
    )
    return ChatPromptTemplate([("system", "Be brief."), shots, ("human", "{input}")])


@pytest.fixture
def ledger() -> Iterator[TokenLedger]:
    with TokenLedger(prices=PRICES) as ledger:
        yield ledger


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel(responses=["Yes."], loop=True, model_name="test-model")


async def invoke(runnable: Any, given: Any, config: Any) -> None:
    runnable.invoke(given, config)


async def ainvoke(runnable: Any, given: Any, config: Any) -> None:
    await runnable.ainvoke(given, config)


class TestInAPrompt:
    @pytest.mark.parametrize("options", [{}, {"input_variables": ["input"]}])
    def test_the_chosen_stand_in_a_chat_prompt(self, options: Any) -> None:
        prompt = few_shot(selector(example_prompt=CHAT), **options)
        contents = [m.content for m in prompt.format_messages(input="code")]
        assert contents == ["Be brief.", "code", "Yes.", "code"]

    async def test_the_chosen_stand_in_a_text_prompt(self) -> None:
        prompt = FewShotPromptTemplate(
            example_selector=selector(example_prompt=TEXT),
            example_prompt=TEXT,
            suffix="Q: {input}\nA:",
        )
        wanted = "Q: code\nA: Yes.\n\nQ: code\nA:"
        assert prompt.format(input="code") == wanted
        assert await prompt.aformat(input="code") == wanted

    def test_without_a_near_example_the_prompt_is_zero_shot(self) -> None:
        prompt = few_shot(selector(example_prompt=CHAT))
        contents = [m.content for m in prompt.format_messages(input="cat")]
        assert contents == ["Be brief.", "cat"]


class TestSaving:
    @pytest.mark.parametrize("call", [invoke, ainvoke])
    async def test_the_ledger_shows_it_once_for_each_prompt(
        self, call: Any, ledger: TokenLedger, model: ScriptedChatModel
    ) -> None:
        chain = few_shot(selector(example_prompt=CHAT, model="test-model")) | model
        for times in (1, 2):
            await call(chain, {"input": "code"}, {"callbacks": [ledger]})
            saving = ledger.savings().levers["examples"]
            assert (saving.count, saving.baselines) == (times, ("all 4 examples",))
        assert saving.exact == 0

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    async def test_a_tracking_block_sees_it_once(
        self, call: Any, model: ScriptedChatModel
    ) -> None:
        chain = few_shot(selector(example_prompt=CHAT, model="test-model")) | model
        with track() as ledger:
            await call(chain, {"input": "code"}, None)
        assert ledger.savings().levers["examples"].count == 1

    @pytest.mark.parametrize("asked", ["code", "cat"])
    def test_it_is_what_the_full_prompt_has_more(
        self, asked: str, ledger: TokenLedger, model: ScriptedChatModel
    ) -> None:
        counter = TokenCounter()
        chooser = selector(example_prompt=CHAT, model="test-model", counter=counter)
        prompt = few_shot(chooser)
        full = [m for each in ALL for m in CHAT.format_messages(**each)]
        sent = prompt.format_messages(input=asked)
        more = counter.count([*sent[:1], *full, sent[-1]]) - counter.count(sent)
        prompt.invoke({"input": asked}, {"callbacks": [ledger]})
        value = ledger.savings().levers["examples"].counterfactual
        assert value * 1_000_000 == more > 0

    def test_text_prompts_report_too(self, ledger: TokenLedger) -> None:
        counter = TokenCounter()
        chooser = selector(example_prompt=TEXT, model="test-model", counter=counter)
        full, kept = (
            "\n\n".join(TEXT.format(**each) for each in each_of)
            for each_of in (ALL, [CODE])
        )
        prompt = FewShotPromptTemplate(
            example_selector=chooser, example_prompt=TEXT, suffix="{input}"
        )
        prompt.invoke({"input": "code"}, {"callbacks": [ledger]})
        value = ledger.savings().levers["examples"].counterfactual
        assert value * 1_000_000 == counter.count(full) - counter.count(kept)

    @pytest.mark.parametrize(
        "options",
        [
            {"model": "test-model", "min_similarity": -1, "k": 9},
            {"min_similarity": 0.9},
        ],
        ids=["nothing was left out", "no model is named"],
    )
    def test_nothing_is_reported_where_nothing_is_known_to_be_avoided(
        self, options: Any, ledger: TokenLedger
    ) -> None:
        prompt = few_shot(selector(example_prompt=CHAT, **options))
        prompt.invoke({"input": "card"}, {"callbacks": [ledger]})
        assert "examples" not in ledger.savings().levers

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    @pytest.mark.parametrize("wrap", [lambda each: each, MeteredEmbeddings])
    async def test_the_embeddings_of_a_provider_stand_in_the_ledger_once(
        self, call: Any, wrap: Any, ledger: TokenLedger
    ) -> None:
        class OpenAIWords(Words):
            __module__ = "langchain_openai.embeddings"

        prompt = few_shot(selector(embeddings=wrap(OpenAIWords())))
        await call(prompt, {"input": "card"}, {"callbacks": [ledger]})
        kinds = [(entry.kind, entry.model) for entry in ledger.entries()]
        assert kinds == [("embedding", "OpenAIWords")] * 2  # the examples, the input

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    async def test_embeddings_without_a_provider_cost_nothing(
        self, call: Any, ledger: TokenLedger
    ) -> None:
        await call(
            few_shot(selector(embeddings=Words())),
            {"input": "card"},
            {"callbacks": [ledger]},
        )
        assert list(ledger.entries()) == []


def scores(*curve: float) -> Callable[[Sequence[Any]], float]:
    """The score of 0, 1, 2, ... examples."""
    return lambda subset: curve[len(subset)]


async def search(evaluate: Any, *args: Any, **options: Any) -> FewestExamples:
    return fewest_examples(evaluate, *args, **options)


async def asearch(evaluate: Any, *args: Any, **options: Any) -> FewestExamples:
    async def later(subset: Sequence[Any]) -> Any:
        return evaluate(subset)

    return await afewest_examples(later, *args, **options)


forms = pytest.mark.parametrize("search", [search, asearch])
THREE = [RAIN, CARD, CODE]


@forms
class TestFewestExamples:
    async def test_the_first_number_within_the_tolerance_is_found(
        self, search: Any
    ) -> None:
        found = await search(scores(0.4, 0.89, 0.1, 0.9), THREE, tolerance=0.01)
        assert found == FewestExamples(
            examples=(RAIN,),
            score=0.89,
            full_score=0.9,
            curve=((0, 0.4), (1, 0.89), (3, 0.9)),
        )
        assert found.count == 1

    async def test_one_shot_that_does_is_not_paid_for_with_five(
        self, search: Any
    ) -> None:
        asked: list[int] = []

        def evaluate(subset: Sequence[Any]) -> float:
            asked.append(len(subset))
            return 0.9 if subset else 0.2

        five = [example(str(number)) for number in range(5)]
        assert (await search(evaluate, five)).examples == (five[0],)
        assert asked == [5, 0, 1]

    async def test_none_are_kept_where_none_help(self, search: Any) -> None:
        assert (await search(scores(0.7, 0, 0, 0.6), THREE)).count == 0

    async def test_all_are_kept_where_all_help(self, search: Any) -> None:
        found = await search(scores(0.1, 0.2, 0.3, 0.4), THREE)
        assert (found.count, found.score) == (3, 0.4)
        assert found.curve == ((0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4))

    async def test_a_score_just_at_the_tolerance_is_within_it(
        self, search: Any
    ) -> None:
        assert (await search(scores(0.7, 0, 0, 0.8), THREE, tolerance=0.1)).count == 0

    async def test_no_examples_have_one_score(self, search: Any) -> None:
        found = await search(scores(0.5), [])
        assert found == FewestExamples((), 0.5, 0.5, ((0, 0.5),))

    async def test_each_score_is_told_as_it_is_known(self, search: Any) -> None:
        told: list[tuple[int, float]] = []
        await search(
            scores(0.1, 0.9, 0, 0.9), THREE, on_score=lambda *each: told.append(each)
        )
        assert told == [(3, 0.9), (0, 0.1), (1, 0.9)]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, None, "0.9", True])
    async def test_a_score_that_is_no_number_is_refused_with_its_place(
        self, search: Any, bad: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="number of examples: 1"):
            await search(scores(0.1, bad, 0.5, 0.9), THREE)

    @pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, True, "1", None])
    async def test_a_tolerance_that_is_no_number_from_0_on_is_refused(
        self, search: Any, bad: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="tolerance= is a number from 0"):
            await search(scores(0, 0, 0, 0), THREE, tolerance=bad)

    async def test_an_example_that_is_no_dictionary_is_refused(
        self, search: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="Example 2 is a dictionary"):
            await search(scores(0, 0, 0), [CARD, "rain"])

    @pytest.mark.parametrize("error", [StopIteration, ConnectionError])
    async def test_an_error_of_the_evaluation_reaches_the_caller(
        self, search: Any, error: type[Exception]
    ) -> None:
        def evaluate(_: Any) -> float:
            raise error

        # Python makes a StopIteration that leaves a coroutine a RuntimeError.
        with pytest.raises((error, RuntimeError)):
            await search(evaluate, THREE)

    @settings(max_examples=100)
    @given(
        curve=st.lists(st.floats(-1, 1), min_size=1, max_size=7),
        tolerance=st.floats(0, 1),
    )
    async def test_no_smaller_number_is_within_the_tolerance(
        self, search: Any, curve: list[float], tolerance: float
    ) -> None:
        examples = [example(str(number)) for number in range(len(curve) - 1)]
        found = await search(scores(*curve), examples, tolerance=tolerance)
        assert found.score == curve[found.count] == dict(found.curve)[found.count]
        assert found.full_score - found.score <= tolerance + 1e-9
        assert all(curve[-1] - each > tolerance for each in curve[: found.count])
        assert list(found.curve) == sorted(found.curve)


def test_a_coroutine_function_is_sent_to_the_async_form() -> None:
    async def evaluate(_: Any) -> float:
        return 1.0

    with pytest.raises(ConfigurationError, match=r"await afewest_examples\(\)"):
        fewest_examples(evaluate, THREE)  # type: ignore[arg-type]

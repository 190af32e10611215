"""The budget retriever: few, short and right pieces of what others find."""

import asyncio
import base64
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests.retrievers import RetrieversIntegrationTests
from langgraph.errors import GraphBubbleUp

from langchain_lean import TokenCounter, TokenLedger, local_embeddings, track
from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.errors import BudgetExceededError
from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.context import retriever as module
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

COUNTER = TokenCounter()
STORE = InMemoryVectorStore(DeterministicFakeEmbedding(size=3))
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

BREAD = (
    "Bread needs flour and water. The oven is hot. Salt makes bread taste better. "
    "Nobody knows who baked first. A sourdough starter makes bread rise slowly."
)
CARS = "A car has four wheels. Its engine burns fuel. Tyres wear out. Roads are long."
TAXES = "Taxes are due in May. Forms are online. Bread is taxed at 7 percent there."


class Fixed(BaseRetriever):
    """Finds the same for every query."""

    found: Any

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Reranker(BaseDocumentCompressor):
    """Answers with what it was given to answer."""

    answer: Any

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(documents)


class Counted(Embeddings):
    """Local embeddings that remember what they embedded."""

    def __init__(self, answer: Any = None) -> None:
        self.local, self.answer = local_embeddings(), answer
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or self.local.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.local.embed_query(text)


def documents(*texts: str) -> list[Document]:
    return [Document(text, metadata={"n": n}) for n, text in enumerate(texts)]


def finding(*texts: str) -> Fixed:
    return Fixed(found=documents(*texts))


def budget(*texts: str, **options: Any) -> BudgetRetriever:
    return BudgetRetriever(retriever=finding(*texts), counter=COUNTER, **options)


def texts(found: Sequence[Document]) -> list[str]:
    return [document.page_content for document in found]


def notices(ledger: TokenLedger) -> list[tuple[str, str]]:
    return [(each.action, each.reason) for each in ledger.notices()]


async def invoke(retriever: Any, query: str, config: Any = None, **limits: Any) -> Any:
    return retriever.invoke(query, config, **limits)


async def ainvoke(retriever: Any, query: str, config: Any = None, **limits: Any) -> Any:
    return await retriever.ainvoke(query, config, **limits)


both = pytest.mark.parametrize("call", [invoke, ainvoke])


class TestStandard(RetrieversIntegrationTests):
    """LangChain's own suite for retrievers."""

    @property
    def retriever_constructor(self) -> type[BudgetRetriever]:
        return BudgetRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        breads = [f"Bread of kind {n} is baked in oven {n}." for n in range(5)]
        return {"retriever": finding(*breads)}

    @property
    def retriever_query_example(self) -> str:
        return "How is bread baked?"

    @property
    def num_results_arg_name(self) -> str:
        return "max_docs"


PIECES = st.one_of(
    st.text(max_size=80),
    st.sampled_from(["", " ", "\n\n", BREAD, CARS, "Bread. ", "e.g. this. ", "3.14 "]),
    st.text("abcdefghij ", min_size=200, max_size=900),  # one giant sentence
    st.text("abcdefghij", min_size=200, max_size=900),  # no spaces
    st.text("面包需要面粉和水。烤箱很热！", max_size=120),
    st.binary(max_size=400).map(lambda data: base64.b64encode(data).decode()),
    st.lists(st.sampled_from(["| a | b |", "|---|---|", "| 1.5 | €2 |"])).map(
        "\n".join
    ),
    st.lists(st.sampled_from(["def f(x):", "    return {x: 'y'}", "}", ""])).map(
        "\n".join
    ),
    st.text("🙂é\u0301İß\u200b\ud83d ", max_size=40),
)
TEXTS = st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=8)


class TestBudget:
    """What is sent never has more tokens than it may have."""

    @settings(max_examples=150, deadline=None)
    @given(
        found=TEXTS,
        query=st.one_of(st.sampled_from(["bread", "面包", "?"]), st.text(max_size=30)),
        max_docs=st.integers(1, 5),
        max_doc_tokens=st.integers(1, 120),
        max_tokens=st.integers(1, 200),
        encoding=st.sampled_from(["o200k_base", "utf8"]),
    )
    def test_it_is_never_exceeded_by_a_token(
        self,
        found: list[str],
        query: str,
        max_docs: int,
        max_doc_tokens: int,
        max_tokens: int,
        encoding: str,
    ) -> None:
        counter = COUNTER if encoding == "o200k_base" else TokenCounter(encoding="utf8")
        retriever = BudgetRetriever(
            retriever=finding(*found),
            max_docs=max_docs,
            max_doc_tokens=max_doc_tokens,
            max_tokens=max_tokens,
            min_gain=0,
            counter=counter,
        )
        sent = texts(retriever.invoke(query))
        assert len(sent) <= max_docs
        assert all(0 < counter.count(text) <= max_doc_tokens for text in sent)
        assert sum(map(counter.count, sent)) <= max_tokens
        assert counter.count("\n\n".join(sent)) <= max_tokens

    @settings(max_examples=60, deadline=None)
    @given(found=TEXTS, max_tokens=st.integers(1, 200))
    def test_what_is_sent_stands_in_the_documents_in_its_order(
        self, found: list[str], max_tokens: int
    ) -> None:
        for sent in budget(*found, max_tokens=max_tokens).invoke("bread"):
            original, done = found[sent.metadata["n"]], sent.metadata["lean"]
            kept, position = "", 0
            for start, end in [*done["cut"], (len(original), len(original))]:
                kept += original[position:start] + "\n"
                position = end
            assert kept.split() == sent.page_content.split()
            assert done["tokens"] == COUNTER.count(sent.page_content)
            assert done["tokens_before"] == COUNTER.count(original)

    def test_a_budget_is_nearly_filled(self) -> None:
        long = " ".join(f"Bread number {n} is baked on day {n}." for n in range(500))
        (sent,) = budget(long, max_docs=1, min_gain=0).invoke("bread")
        assert 360 <= sent.metadata["lean"]["tokens"] <= 400

    @both
    async def test_a_call_may_have_limits_of_its_own(self, call: Any) -> None:
        retriever = budget(BREAD, CARS, TAXES, min_gain=0)
        assert len(await call(retriever, "bread", max_docs=1)) == 1
        (sent,) = await call(retriever, "bread", max_tokens=8)
        assert COUNTER.count(sent.page_content) <= 8
        assert len(await call(retriever, "bread")) == 3

    def test_a_document_that_cannot_fit_takes_no_place_in_any_script(self) -> None:
        cuneiform = "".join(map(chr, range(0x12000, 0x120A0)))
        found = budget(cuneiform, "Refunds take five days.", max_docs=1)
        assert texts(found.invoke("refunds")) == ["Refunds take five days."]

    def test_what_fits_whole_is_sent_whole(self) -> None:
        mixed = "\n".join(
            f"{'ab' * n} {chr(0x4E00 + n) * (n % 7)} line {n}" for n in range(38)
        )
        (sent,) = budget(
            mixed, min_gain=0, max_doc_tokens=2000, max_tokens=COUNTER.count(mixed) + 8
        ).invoke("line")
        assert sent.page_content == mixed.strip()

    def test_an_over_full_document_takes_nothing_from_the_others(self) -> None:
        dense = "alpha beta " + "".join(map(chr, range(0x13000, 0x1301E)))
        easy = "the quick brown fox and the dog met again on a day without a number"
        mixed = "\n".join([dense + str(n) for n in range(12)] + [easy] * 200)
        found = budget(
            mixed, "The alpha is a letter.", "Alpha comes first in Greek.", min_gain=0
        ).invoke("alpha beta")
        assert len(found) == 3
        assert found[0].metadata["lean"]["tokens"] > 300

    def test_a_call_is_told_which_limits_there_are(self) -> None:
        with pytest.raises(ConfigurationError, match="max_docs, max_doc_tokens"):
            budget(BREAD).invoke("bread", k=3)
        with pytest.raises(ConfigurationError, match="max_docs must be"):
            budget(BREAD).invoke("bread", max_docs=0)


class TestChoice:
    """The nearest sentences of the best documents are kept."""

    def test_a_text_that_fits_is_sent_as_it_stands(self) -> None:
        text = "  Bread needs flour.\n\n  - and bread needs salt  \n"
        (sent,) = budget(text).invoke("What does bread need?")
        assert sent.page_content == text.strip()
        assert sent.metadata["lean"]["cut"] == []

    def test_the_nearest_sentences_are_kept_in_their_order(self) -> None:
        (sent,) = budget(BREAD, max_tokens=20).invoke("salt and a sourdough starter")
        assert sent.page_content == (
            "Salt makes bread taste better.\nA sourdough starter makes bread rise "
            "slowly."
        )

    def test_abbreviations_and_numbers_end_no_sentence(self) -> None:
        text = "Use flour, e.g. rye flour, at 3.5 kg. Wait. Sleep well tonight!"
        (sent,) = budget(text, max_tokens=18).invoke("rye flour")
        assert sent.page_content.startswith("Use flour, e.g. rye flour, at 3.5 kg.")

    @pytest.mark.parametrize(
        ("text", "sentences"),
        [
            ("so we moved on. and it was agreed. fine?", 3),
            ("Use rye, e.g.  flour. J. Smith vs. Dr. No, approx. 3.5 kg.", 2),
            ("Is it vitamin C? Yes! Is he Mr! And so on etc... Then more.", 5),
            ("1. First Prof. Smith. 2. Second.", 2),
            ("日本｡半角｡です", 3),
            ("ខ្មែរ។ ភាសា។", 2),
            ("यह एक है। यह दो है। यह तीन है।", 3),
            ("یہ ایک ہے۔ یہ دو ہے۔", 2),
            ("هل هذا واحد؟ هذا اثنان.", 2),
            ("烤箱很热。“好。”没有", 3),
            ("one\rtwo\u2028three\x85four\x0cfive", 5),
            ("Wait… What? No!", 3),
            (".\n\nlower", 2),
            ("a.  \n\n \nlower", 2),
            ("Contents ........................ 12", 2),
        ],
    )
    def test_sentences_of_many_scripts_end_where_they_end(
        self, text: str, sentences: int
    ) -> None:
        (sent,) = budget(text, min_gain=0).invoke("?")
        assert sent.metadata["lean"]["sentences_before"] == sentences

    def test_no_text_takes_long_to_split(self) -> None:
        dots = [f"Chapter {n} " + "." * 200_000 for n in range(5)]
        assert budget(*dots).invoke("chapter 3") == []

    def test_no_query_takes_long_to_look_for(self) -> None:
        query = " ".join(f"word{n}" for n in range(50_000))
        assert budget(BREAD, min_gain=0).invoke(query)

    def test_a_document_that_adds_little_is_left_out(self) -> None:
        found = budget(BREAD, CARS, min_gain=0.5).invoke("How does bread rise?")
        assert [each.metadata["n"] for each in found] == [0]

    def test_without_a_least_gain_the_budget_is_filled(self) -> None:
        found = budget(BREAD, CARS, min_gain=0).invoke("How does bread rise?")
        assert texts(found) == [BREAD, CARS]

    def test_scripts_without_spaces_are_searched_by_pairs_of_characters(self) -> None:
        text = "烤箱很热。酸面团让面包慢慢发酵。没有人知道是谁先烤的。"
        (sent,) = budget(text, max_tokens=14).invoke("酸面团")
        assert sent.page_content == "酸面团让面包慢慢发酵。"

    def test_a_query_without_words_gets_the_best_documents_start(self) -> None:
        found = budget(CARS, BREAD, max_tokens=8).invoke("?")
        assert texts(found) == ["A car has four wheels."]

    def test_reading_moves_the_document_that_answers_to_the_front(self) -> None:
        found = budget(CARS, BREAD, TAXES).invoke("How does a sourdough starter work?")
        assert found[0].metadata["n"] == 1

    def test_only_the_candidates_are_read(self) -> None:
        found = budget(CARS, TAXES, BREAD, candidates=2).invoke("sourdough starter")
        assert 2 not in [each.metadata["n"] for each in found]

    @both
    async def test_each_document_says_what_was_done(self, call: Any) -> None:
        retriever = budget(BREAD, max_tokens=20)
        (sent,) = await call(retriever, "salt and a sourdough starter")
        done = sent.metadata["lean"]
        assert done.pop("score") > 0
        assert done == {
            "rank": 1,
            "tokens_before": COUNTER.count(BREAD),
            "tokens": COUNTER.count(sent.page_content),
            "sentences_before": 5,
            "sentences": 2,
            "cut": [(0, 46), (77, 107)],
            "duplicates": 0,
        }

    def test_what_was_found_stays_as_it_was(self) -> None:
        found = [Document(BREAD, id="b", metadata={"source": "book"})]
        before = [each.model_copy(deep=True) for each in found]
        retriever = BudgetRetriever(retriever=Fixed(found=found), max_tokens=20)
        (sent,) = retriever.invoke("salt")
        assert found == before
        assert (sent.id, sent.metadata["source"]) == ("b", "book")


class TestDuplicates:
    """Nothing is paid for twice."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("oven is hot", "oven is very hot"),
            ("oven is hot.", "oven   is hot!\n"),
        ],
    )
    def test_a_document_that_repeats_a_better_one_is_left_out(
        self, old: str, new: str
    ) -> None:
        rest = " ".join(f"Line {word} of the text is the same." for word in WORDS)
        long = f"{BREAD} {rest}"
        again = long.replace(old, new)
        found = budget(again, long, CARS, min_gain=0).invoke("bread")
        duplicates = {
            each.metadata["n"]: each.metadata["lean"]["duplicates"] for each in found
        }
        assert duplicates in ({0: 1, 2: 0}, {1: 1, 2: 0})

    def test_a_part_of_a_better_document_is_left_out(self) -> None:
        part = "Salt makes bread taste better. The oven is hot."
        found = budget(f"{BREAD} {TAXES}", part, min_gain=0).invoke("bread taxes")
        assert [each.metadata["n"] for each in found] == [0]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("The fee is 20 dollars.", "The fee is 30 dollars."),
            ("He is allergic to bread.", "He is not allergic to bread."),
            ("He is not allergic to bread.", "He is allergic to bread."),
            ("The bread comes in March.", "The bread comes in May."),
            ("The baker was Alice.", "The baker was Maria."),
            ("You can do it.", "You can't do it."),
            ("It was 5 degrees.", "It was -5 degrees."),
            ("Use it if a == b.", "Use it if a != b."),
            ("From 3 to 5 go.", "From 5 to 3 go."),
            ("Alice pays Bob.", "Bob pays Alice."),
            ("Bread is allowed.", "Bread is forbidden."),
            ("Bread is sold here.", "Bread is only sold here."),
            ("दिन", "दान"),
            ("面包三百元。", "面包五百元。"),
        ],
    )
    def test_documents_that_differ_in_what_matters_are_both_kept(
        self, one: str, other: str
    ) -> None:
        rest = " ".join(f"Line {word} of the text is the same." for word in WORDS)
        found = budget(f"{rest} {one}", f"{rest} {other}", min_gain=0)
        assert len(found.invoke("bread fee baker")) == 2

    def test_equal_texts_are_one_document(self) -> None:
        found = budget(BREAD, BREAD).invoke("bread")
        assert texts(found) == [BREAD]

    def test_a_sentence_of_two_documents_is_sent_once(self) -> None:
        notice = "All rights to this bread are reserved by its baker."
        found = budget(f"{BREAD} {notice}", f"{CARS} {notice}", min_gain=0)
        sent = " ".join(texts(found.invoke("rights to bread")))
        assert sent.count(notice) == 1


class TestSeveral:
    """Several retrievers are asked side by side, and their rankings fused."""

    def test_a_document_that_two_find_comes_first(self) -> None:
        first, second = finding(CARS, TAXES), finding(BREAD, TAXES)
        found = BudgetRetriever(retriever=[first, second], min_gain=0).invoke("?")
        assert found[0].page_content == TAXES

    def test_weights_decide(self) -> None:
        retrievers = [finding(CARS), finding(TAXES)]
        for weights, best in (([3, 1], CARS), ([1, 3], TAXES)):
            retriever = BudgetRetriever(retriever=retrievers, weights=weights)
            assert retriever.invoke("?")[0].page_content == best

    def test_they_are_asked_at_the_same_time(self) -> None:
        barrier = threading.Barrier(3, timeout=30)

        def wait(query: str) -> list[Document]:
            barrier.wait()
            return documents(BREAD)

        retriever = BudgetRetriever(retriever=[RunnableLambda(wait)] * 3)
        assert texts(retriever.invoke("bread")) == [BREAD]

    async def test_they_are_awaited_at_the_same_time(self) -> None:
        barrier = asyncio.Barrier(3)

        async def wait(query: str) -> list[Document]:
            await barrier.wait()
            return documents(BREAD)

        retriever = BudgetRetriever(retriever=[RunnableLambda(wait)] * 3)
        assert texts(await retriever.ainvoke("bread")) == [BREAD]

    def test_sync_and_async_find_the_same(self) -> None:
        retriever = budget(BREAD, CARS, TAXES).with_lexical(documents(TAXES, BREAD))
        found = retriever.invoke("What is taxed?")
        assert asyncio.run(retriever.ainvoke("What is taxed?")) == found

    def test_a_vector_store_that_keeps_to_a_score_can_be_asked(self) -> None:
        class Scored(InMemoryVectorStore):
            def _select_relevance_score_fn(self) -> Any:
                return float

        store = Scored(local_embeddings())
        store.add_documents(documents(BREAD, CARS, TAXES))
        for kind, options in (
            ("similarity_score_threshold", {"score_threshold": 0.1, "k": 2}),
            ("mmr", {"k": 2}),
            ("similarity", {"k": 2}),
        ):
            inner = store.as_retriever(search_type=kind, search_kwargs=options)
            found = BudgetRetriever(retriever=inner).invoke("How does bread rise?")
            assert found[0].page_content.startswith("Bread needs")

    def test_threads_may_share_one(self) -> None:
        retriever = budget(BREAD, CARS, TAXES)
        alone = [retriever.invoke(q) for q in ("bread", "car", "tax")]
        with ThreadPoolExecutor(8) as executor:
            many = list(executor.map(retriever.invoke, ["bread", "car", "tax"] * 20))
        assert many == alone * 20


class TestLexical:
    """BM25 over the same documents."""

    def test_it_finds_what_the_others_do_not(self) -> None:
        retriever = budget(CARS).with_lexical(documents(CARS, BREAD, TAXES))
        assert retriever.invoke("sourdough")[0].page_content.endswith("slowly.")

    def test_it_leaves_the_retriever_as_it_is(self) -> None:
        retriever = budget(CARS)
        retriever.with_lexical(documents(BREAD))
        assert texts(retriever.invoke("sourdough")) != [BREAD]

    def test_documents_that_share_no_word_are_not_found(self) -> None:
        retriever = BudgetRetriever(retriever=finding()).with_lexical(documents(BREAD))
        assert retriever.invoke("wheels") == []
        assert retriever.invoke("the of and") == []

    def test_it_finds_words_with_other_endings(self) -> None:
        retriever = BudgetRetriever(retriever=finding()).with_lexical(documents(CARS))
        assert len(retriever.invoke("a burning wheel")) == 1

    def test_it_finds_no_more_than_it_may(self) -> None:
        many = documents(*(f"Bread {n}." for n in range(9)))
        retriever = BudgetRetriever(retriever=finding(), max_docs=9)
        assert len(retriever.with_lexical(many, k=4).invoke("bread")) == 4

    @pytest.mark.parametrize("empty", ["", "...", "\n"])
    def test_documents_without_words_are_never_found(self, empty: str) -> None:
        retriever = BudgetRetriever(retriever=finding()).with_lexical(documents(empty))
        assert retriever.invoke("bread") == []

    def test_it_needs_documents_a_number_and_a_weight(self) -> None:
        with pytest.raises(ConfigurationError, match="documents to search"):
            budget(BREAD).with_lexical([])
        with pytest.raises(ConfigurationError, match="k= of at least 1"):
            budget(BREAD).with_lexical(documents(BREAD), k=0)
        with pytest.raises(ConfigurationError, match="weights="):
            budget(BREAD).with_lexical(documents(BREAD), weight=0)
        odd: Any = ["text"]
        with pytest.raises(ConfigurationError, match="documents, not str"):
            budget(BREAD).with_lexical(odd)
        with pytest.raises(ConfigurationError, match="a number above 0"):
            budget(BREAD).with_lexical(documents(BREAD), weight=odd)

    def test_documents_may_come_one_by_one(self) -> None:
        retriever = BudgetRetriever(retriever=finding())
        lexical = retriever.with_lexical(each for each in documents(BREAD, CARS))
        assert len(lexical.invoke("wheels")) == 1

    def test_without_the_extra_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "bm25s", None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[local\]"):
            budget(BREAD).with_lexical(documents(BREAD))


class TestReranker:
    """Any document compressor may decide the order."""

    @both
    async def test_its_order_stands(self, call: Any) -> None:
        reranker = Reranker(answer=lambda found: found[::-1])
        retriever = budget(CARS, TAXES, BREAD, reranker=reranker, min_gain=0)
        found = await call(retriever, "car")
        assert [each.metadata["n"] for each in found] == [2, 1, 0]

    def test_what_it_writes_on_documents_stays_with_it(self) -> None:
        def score(found: Sequence[Document]) -> Sequence[Document]:
            for document in found:
                document.metadata["relevance_score"] = 1
            return found

        given = documents(BREAD)
        retriever = BudgetRetriever(
            retriever=Fixed(found=given), reranker=Reranker(answer=score)
        )
        assert "relevance_score" in retriever.invoke("bread")[0].metadata
        assert "relevance_score" not in given[0].metadata

    def test_it_may_filter_and_change_documents(self) -> None:
        changed = Document("Bread was shortened.", metadata={"relevance_score": 0.9})
        reranker = Reranker(answer=lambda found: [changed])
        (sent,) = budget(CARS, BREAD, reranker=reranker).invoke("bread")
        assert sent.page_content == "Bread was shortened."
        assert sent.metadata["relevance_score"] == 0.9

    def test_one_that_keeps_nothing_leaves_nothing_and_it_is_said(self) -> None:
        ledger = TokenLedger()
        retriever = budget(BREAD, reranker=Reranker(answer=lambda found: []))
        assert retriever.invoke("bread", {"callbacks": [ledger]}) == []
        assert notices(ledger) == [
            ("returned nothing", "the reranker kept no document")
        ]

    @both
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (TimeoutError("secret"), "TimeoutError"),
            (lambda found: None, "it returned NoneType, no documents"),
        ],
    )
    async def test_one_that_fails_is_skipped_and_it_is_said(
        self, call: Any, answer: Any, reason: str
    ) -> None:
        ledger = TokenLedger()
        retriever = budget(BREAD, reranker=Reranker(answer=answer))
        assert texts(await call(retriever, "bread", {"callbacks": [ledger]})) == [BREAD]
        assert notices(ledger) == [("skipped", f"Reranker failed: {reason}")]

    def test_its_error_is_raised_if_asked(self) -> None:
        reranker = Reranker(answer=TimeoutError())
        with pytest.raises(TimeoutError):
            budget(BREAD, reranker=reranker, on_error="raise").invoke("bread")


class TestFailures:
    """What fails is skipped and recorded, or raised."""

    @both
    async def test_one_of_several_that_fails_is_skipped_and_it_is_said(
        self, call: Any
    ) -> None:
        ledger = TokenLedger()
        failing = Fixed(found=TimeoutError("a user's secret"))
        retriever = BudgetRetriever(retriever=[failing, finding(BREAD)])
        assert texts(await call(retriever, "bread", {"callbacks": [ledger]})) == [BREAD]
        assert notices(ledger) == [("skipped", "Fixed failed: TimeoutError")]

    @both
    async def test_it_is_raised_if_asked(self, call: Any) -> None:
        retrievers = [Fixed(found=TimeoutError()), finding(BREAD)]
        retriever = BudgetRetriever(retriever=retrievers, on_error="raise")
        with pytest.raises(TimeoutError):
            await call(retriever, "bread")

    @both
    async def test_where_nobody_answers_the_error_is_raised(self, call: Any) -> None:
        failing = Fixed(found=TimeoutError())
        with pytest.raises(TimeoutError):
            await call(BudgetRetriever(retriever=[failing, failing]), "bread")

    @both
    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            ("text", "it returned str, no documents"),
            (None, "it returned NoneType, no documents"),
            (["text"], "it returned a list with str, not of documents"),
            ({"a": 1}, "it returned dict, no documents"),
        ],
    )
    async def test_a_wrong_type_is_nothing_found_and_it_is_said(
        self, call: Any, found: Any, reason: str
    ) -> None:
        ledger = TokenLedger()
        retriever = BudgetRetriever(retriever=RunnableLambda(lambda query: found))
        assert await call(retriever, "bread", {"callbacks": [ledger]}) == []
        assert notices(ledger) == [
            ("skipped", f"RunnableLambda failed: {reason}"),
            ("returned nothing", "nothing was found"),
        ]

    @both
    async def test_a_refused_call_is_never_skipped(self, call: Any) -> None:
        guard = BudgetGuard(Budget(calls=0, per="total"))
        model = ScriptedChatModel(responses=["never"])

        def rewrite(query: str) -> list[Document]:
            return documents(model.invoke(query, {"callbacks": [guard]}).text)

        retrievers = [RunnableLambda(rewrite), finding(BREAD)]
        with pytest.raises(BudgetExceededError):
            await call(BudgetRetriever(retriever=retrievers), "bread")

    def test_an_interrupt_is_never_skipped(self) -> None:
        retrievers = [Fixed(found=GraphBubbleUp()), finding(BREAD)]
        with pytest.raises(GraphBubbleUp):
            BudgetRetriever(retriever=retrievers).invoke("bread")

    @both
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (ConnectionError(), "ConnectionError"),
            ([[0.5]], "ValueError"),
            ([[0.5] * 256] * 3, "ValueError"),
            ([["text"] * 256] * 5, "ValueError"),
            ([[math.nan] * 256] * 5, "ValueError"),
        ],
    )
    async def test_without_embeddings_sentences_are_chosen_by_words_and_it_is_said(
        self, call: Any, answer: Any, reason: str
    ) -> None:
        ledger = TokenLedger()
        retriever = budget(BREAD, max_tokens=12, embeddings=Counted(answer))
        found = await call(retriever, "sourdough", {"callbacks": [ledger]})
        assert "sourdough" in found[0].page_content
        assert notices(ledger) == [("read by words alone", f"Counted failed: {reason}")]

    def test_the_error_of_the_embeddings_is_raised_if_asked(self) -> None:
        embeddings = Counted(ConnectionError())
        with pytest.raises(ConnectionError):
            budget(BREAD, embeddings=embeddings, on_error="raise").invoke("bread")

    def test_a_budget_below_every_sentence_says_what_to_do(self) -> None:
        ledger = TokenLedger()
        retriever = budget(BREAD, CARS, max_doc_tokens=3)
        assert retriever.invoke("bread", {"callbacks": [ledger]}) == []
        assert notices(ledger) == [
            (
                "returned nothing",
                "no sentence fits into 3 tokens: raise max_doc_tokens and max_tokens",
            )
        ]

    @pytest.mark.parametrize("found", [[], ["", " \n"]])
    def test_nothing_found_is_said(self, found: list[str]) -> None:
        with track() as ledger:
            assert budget(*found).invoke("bread") == []
        assert notices(ledger) == [("returned nothing", "nothing was found")]

    def test_a_document_of_which_nothing_fits_takes_no_place(self) -> None:
        giant = "bread " * 500
        found = budget(giant, BREAD, max_docs=1).invoke("bread")
        assert texts(found) == [BREAD]


class TestConstruction:
    """What cannot work is refused at once, in a sentence."""

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"max_docs": 0}, "max_docs must be a whole number above 0"),
            ({"max_docs": True}, "max_docs: input should be a valid integer"),
            ({"max_doc_tokens": -1}, "max_doc_tokens must be a whole number"),
            ({"max_tokens": 0}, "max_tokens must be a whole number"),
            ({"max_tokens": "many"}, "max_tokens: input should be a valid integer"),
            ({"min_gain": 1.5}, "min_gain must be a share from 0 to 1"),
            ({"min_gain": math.nan}, "min_gain must be a share from 0 to 1"),
            ({"weights": [1, 1]}, "one number above 0 for each retriever"),
            ({"weights": [0]}, "one number above 0 for each retriever"),
            ({"weights": [math.nan]}, "one number above 0 for each retriever"),
            ({"candidates": 0}, "candidates: input should be greater"),
            ({"retriever": "bread"}, "retriever"),
            ({"retriever": []}, "needs a retriever to ask"),
            ({"reranker": "bread"}, "reranker"),
            ({"on_error": "ignore"}, "on_error"),
            ({"max_doc": 3}, "no option max_doc; it takes .*max_docs"),
            ({"retriever": STORE}, r"retriever=store.as_retriever\(\)"),
            ({"baseline_docs": 20}, "needs the model whose input is saved"),
            ({"baseline_docs": 0, "model": "m"}, "baseline_docs: input should"),
        ],
    )
    def test_a_mistake_is_named(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigurationError, match=says) as caught:
            BudgetRetriever(**{"retriever": finding(BREAD), **options})
        assert "\n" not in str(caught.value)

    @both
    @pytest.mark.parametrize("query", [{"question": "bread"}, None, ["bread"]])
    async def test_a_query_is_a_text(self, call: Any, query: Any) -> None:
        with pytest.raises(ConfigurationError, match="the query as a text, not"):
            await call(budget(BREAD), query)


class TestEmbeddings:
    """Sentences are compared by embeddings, where there are some."""

    def test_a_sentence_is_embedded_once(self) -> None:
        embeddings = Counted()
        retriever = budget(BREAD, CARS, embeddings=embeddings)
        retriever.invoke("How does bread rise?")
        retriever.invoke("What do tyres do?")
        assert len(embeddings.embedded) == len(set(embeddings.embedded)) == 9

    def test_nothing_blank_is_embedded(self) -> None:
        embeddings = Counted()
        text = "Install bread first.\n\npip install it. \nthen run."
        budget(text, embeddings=embeddings).invoke("bread")
        assert all(embeddings.embedded)

    def test_a_copy_with_other_embeddings_forgets_what_the_first_knew(self) -> None:
        other = Counted()
        retriever = budget(BREAD, embeddings=Counted())
        retriever.invoke("bread")
        retriever.model_copy(update={"embeddings": other}).invoke("bread")
        assert len(other.embedded) == 5

    def test_no_more_is_embedded_than_may_matter(self) -> None:
        long = " ".join(f"Sentence {n} is about a topic of no use." for n in range(900))
        embeddings = Counted()
        budget(long, embeddings=embeddings, max_tokens=100).invoke("sentence 7")
        assert sum(map(len, embeddings.embedded)) <= 12 * 100

    def test_those_of_the_local_extra_are_used_if_none_are_given(self) -> None:
        retriever = budget("Dogs bark. The stock market fell.", max_tokens=6)
        assert texts(retriever.invoke("puppies")) == ["Dogs bark."]

    def test_without_the_extra_words_decide_and_it_is_logged_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def not_installed() -> Any:
            raise ConfigurationError("It is not installed.")

        monkeypatch.setattr(module, "local_embeddings", not_installed)
        module._installed_embeddings.cache_clear()
        with caplog.at_level("WARNING"):
            retrievers = [budget(BREAD, max_tokens=12) for _ in range(2)]
        module._installed_embeddings.cache_clear()
        assert caplog.text.count("reads by words alone") == 1
        (sent,) = retrievers[0].invoke("sourdough")
        assert sent.page_content == "A sourdough starter makes bread rise slowly."

    @both
    async def test_a_ledger_knows_what_a_provider_charges_for_them(
        self, call: Any
    ) -> None:
        class OpenAIEmbeddings(DeterministicFakeEmbedding):
            __module__ = "langchain_openai.embeddings"
            model: str = "text-embedding-3-small"

        ledger = TokenLedger()
        retriever = budget(BREAD, embeddings=OpenAIEmbeddings(size=8))
        await call(retriever, "bread", {"callbacks": [ledger]})
        entries = list(ledger.entries())
        assert {(each.kind, each.source) for each in entries} == {
            ("embedding", "retriever")
        }


class TestLedger:
    """What it saves and does stands in the ledger."""

    @both
    async def test_a_saving_is_reported_against_the_stated_baseline(
        self, call: Any
    ) -> None:
        ledger = TokenLedger()
        retriever = budget(
            *(BREAD, CARS, TAXES),
            max_tokens=20,
            baseline_docs=2,
            model="gpt-5-mini",
            provider="openai",
        )
        (sent,) = await call(retriever, "salt", {"callbacks": [ledger, ledger]})
        ledger.flush()
        (saving,) = ledger.store.savings()
        before = COUNTER.count(BREAD) + COUNTER.count(CARS)
        assert saving.avoided.input == before - sent.metadata["lean"]["tokens"]
        assert (saving.lever, saving.kind) == ("retriever", "counterfactual")
        assert saving.baseline == "2 whole documents"
        assert ledger.savings().levers["retriever"].counterfactual > 0

    def test_none_is_claimed_without_a_baseline_nor_where_there_is_none(self) -> None:
        with track() as ledger:
            budget(BREAD, CARS, max_tokens=20).invoke("salt")
            budget("Salt.", CARS, baseline_docs=1, model="gpt-5-mini").invoke("salt")
            nothing = {"max_tokens": 1, "baseline_docs": 1, "model": "gpt-5-mini"}
            assert budget(BREAD, **nothing).invoke("salt") == []
        ledger.flush()
        assert list(ledger.store.savings()) == []

    def test_the_retrievers_it_asks_are_a_part_of_it(self) -> None:
        with track() as ledger:
            budget(BREAD).with_lexical(documents(CARS)).invoke("bread")
        (step,) = ledger.steps()
        assert (step.kind, step.name) == ("retriever", "BudgetRetriever")
        assert len(step.documents) == 1

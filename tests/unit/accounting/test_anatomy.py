"""Where the tokens go: every token of a call in exactly one part."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from langchain_lean import TokenLedger, TokenUsage
from langchain_lean.accounting.anatomy import (
    PARTS,
    in_tokens,
    prompt_characters,
    retrieved_characters,
)
from langchain_lean.accounting.recording.events import Trace

Make = Callable[..., Any]


class Library(BaseRetriever):
    """Returns the same documents for every query."""

    texts: list[str]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
        return [Document(text) for text in self.texts]


def measured(messages: list[BaseMessage], **options: Any) -> dict[str, int]:
    lengths = [len(str(message.content)) for message in messages]
    parts = prompt_characters(messages, lengths, **options)
    return {name: size for name, size in parts.items() if size}


def test_system_history_and_question_are_told_by_role() -> None:
    messages = [
        SystemMessage("sys"),
        HumanMessage("first"),
        AIMessage("answer"),
        HumanMessage("last one"),
    ]
    assert measured(messages, tools=7) == {
        "system": 3,
        "history": 11,
        "question": 8,
        "tools": 7,
    }


def test_a_tool_loop_after_the_question_is_history() -> None:
    call = {"name": "look", "args": {}, "id": "1"}
    messages = [
        HumanMessage("ask"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("found it", tool_call_id="1"),
    ]
    assert measured(messages) == {"question": 3, "history": 8}


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(
            [
                HumanMessage("a", name="example_user"),
                AIMessage("bc", name="example_assistant"),
            ],
            id="named",
        ),
        pytest.param(
            [
                SystemMessage("a", name="example_user"),
                SystemMessage("bc", name="example_assistant"),
            ],
            id="named system messages",
        ),
        pytest.param(
            [HumanMessage("a"), AIMessage("bc"), SystemMessage("")],
            id="a pair before the end of the system prompt",
        ),
    ],
)
def test_examples_are_what_stands_in_the_static_prefix(
    examples: list[BaseMessage],
) -> None:
    messages = [SystemMessage("sys"), *examples, HumanMessage("question")]
    assert measured(messages) == {"system": 3, "examples": 3, "question": 8}


def test_a_pair_after_the_system_prompt_is_history() -> None:
    messages = [
        SystemMessage("s"),
        HumanMessage("a"),
        AIMessage("b"),
        HumanMessage("q"),
    ]
    assert measured(messages) == {"system": 1, "history": 2, "question": 1}


def test_documents_of_a_trace_are_found_where_they_stand(
    ledger: TokenLedger, model: Make
) -> None:
    texts = [
        "The first document tells of Paris. " * 20,
        "The second is about Rome. " * 9,
    ]
    prompt = ChatPromptTemplate(
        [("system", "Answer.\n{docs}"), ("human", "{question}")]
    )

    def ask(question: str) -> Any:
        docs = Library(texts=texts).invoke(question)
        joined = "\n\n".join(doc.page_content for doc in docs)
        return (prompt | model()).invoke({"docs": joined, "question": question})

    RunnableLambda(ask).invoke("Where?", {"callbacks": [ledger]})
    anatomy = ledger.anatomy()
    assert anatomy.retrieved > 0.85 * ledger.totals().usage.input
    assert 0 < anatomy.system < 20
    assert anatomy.question > 0


def test_documents_are_found_without_a_chain_too(
    ledger: TokenLedger, model: Make
) -> None:
    text = "A document that stands in the question itself. " * 20
    Library(texts=[text]).invoke("q", {"callbacks": [ledger]})
    model().invoke(f"{text}\nWhere?", {"callbacks": [ledger]})
    assert ledger.anatomy().retrieved > ledger.anatomy().question > 0


def test_only_the_newest_documents_of_a_long_trace_are_looked_for() -> None:
    trace = Trace(id="t")
    for index in range(1000):
        trace.add([f"document {index}", "the same one"])
    assert trace.retrieved is not None
    assert len(trace.retrieved.documents) == 128
    assert "document 999" in trace.retrieved.documents


def test_documents_of_another_trace_are_not_looked_for(
    ledger: TokenLedger, model: Make
) -> None:
    def search(_: int) -> Any:
        return Library(texts=["shared text"]).invoke("q")

    RunnableLambda(search).invoke(1, {"callbacks": [ledger]})
    chain = RunnableLambda(lambda text: model().invoke(text))
    chain.invoke("shared text", {"callbacks": [ledger]})
    assert ledger.anatomy().retrieved == 0


@pytest.mark.parametrize("source", ["memory", "summarization"])
def test_what_a_summarizer_reads_is_history(
    source: str, ledger: TokenLedger, model: Make
) -> None:
    config = {"callbacks": [ledger], "metadata": {"lc_source": source}}
    model().invoke("human: a turn\nai: of a conversation", config)
    assert ledger.anatomy().history > 0
    assert ledger.anatomy().question == 0


def test_tool_schemas_are_a_part(ledger: TokenLedger, model: Make) -> None:
    def look(query: str) -> str:
        """Look something up in the long, long catalogue of everything there is."""
        return query

    model().bind_tools([look]).invoke("q", {"callbacks": [ledger]})
    assert ledger.anatomy().tools > ledger.anatomy().question


def test_what_a_provider_adds_for_tools_is_part_of_the_tools() -> None:
    usage = TokenUsage(input=1000, output=10)
    anatomy = in_tokens({"tools": 100, "question": 100}, usage, preamble=400)
    assert (anatomy.tools, anatomy.question, anatomy.output) == (700, 300, 10)
    assert anatomy.total == 1010


@given(
    st.dictionaries(st.sampled_from(PARTS[:-1]), st.integers(0, 10**6)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_the_parts_are_the_whole(
    characters: dict[str, int], given_in: int, out: int
) -> None:
    anatomy = in_tokens(characters, TokenUsage(input=given_in, output=out))
    assert anatomy.total == given_in + out
    assert anatomy.output == out
    assert min(anatomy.parts().values()) >= 0
    assert sum(anatomy.shares().values()) == pytest.approx(1 if anatomy.total else 0)


@given(st.text(), st.lists(st.text()))
def test_retrieved_text_is_never_more_than_the_text(
    text: str, documents: list[str]
) -> None:
    assert 0 <= retrieved_characters(text, documents) <= len(text)

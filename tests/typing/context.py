"""How the names of context are used, for mypy: never run."""

from collections.abc import Sequence
from typing import assert_type

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate
from langchain_core.retrievers import BaseRetriever

from langchain_lean import BudgetExampleSelector, BudgetRetriever
from langchain_lean.context.examples import (
    FewestExamples,
    afewest_examples,
    fewest_examples,
)
from langchain_lean.context.output import (
    ConciseModel,
    JsonModel,
    concise,
    stop_at_json,
)


def retriever(
    dense: BaseRetriever,
    reranker: BaseDocumentCompressor,
    embeddings: Embeddings,
    documents: list[Document],
) -> None:
    one = BudgetRetriever(retriever=dense)
    several = BudgetRetriever(
        retriever=[dense, one],
        max_docs=3,
        max_doc_tokens=400,
        max_tokens=1200,
        min_gain=0.1,
        weights=[1, 2],
        reranker=reranker,
        embeddings=embeddings,
        baseline_docs=20,
        model="gpt-5-mini",
        provider="openai",
        on_error="raise",
    )
    assert_type(several.with_lexical(documents, k=20, weight=1.5), BudgetRetriever)
    assert_type(several.invoke("query", max_docs=2), list[Document])


def examples(embeddings: Embeddings) -> None:
    prompt = ChatPromptTemplate([("human", "{input}"), ("ai", "{output}")])
    selector = BudgetExampleSelector(
        [{"input": "a", "output": "b"}],
        k=2,
        max_tokens=100,
        min_similarity=0.3,
        example_prompt=prompt,
        embeddings=embeddings,
    )
    assert_type(selector.select_examples({"input": "c"}), list[dict[str, str]])
    FewShotChatMessagePromptTemplate(example_selector=selector, example_prompt=prompt)


async def fewest(examples: list[dict[str, str]]) -> None:
    def score(shots: Sequence[dict[str, str]]) -> float:
        return len(shots)

    async def ascore(shots: Sequence[dict[str, str]]) -> float:
        return len(shots)

    found = fewest_examples(score, examples, tolerance=0.02)
    assert_type(found, FewestExamples)
    assert_type(found.curve, tuple[tuple[int, float], ...])
    await afewest_examples(ascore, examples, on_score=print)


def output(model: BaseChatModel) -> None:
    assert_type(concise(model, sentences=2, max_tokens=60), ConciseModel)
    assert_type(stop_at_json(model).bind_tools([]), JsonModel)

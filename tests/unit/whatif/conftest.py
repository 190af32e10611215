"""What the tests of what-if share: ledgers, a help desk, embeddings without a model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda

from langchain_lean import PriceBook, TokenLedger
from langchain_lean.testing import ScriptedChatModel

MODEL, CHEAP, PROVIDER = "claude-sonnet-4-5", "test-cheap", "anthropic"
PRICES = PriceBook().with_price(
    MODEL, input=10, output=100, cache_read=1, cache_write="12.5"
)
PRICES = PRICES.with_price(CHEAP, input=1, output=10)
TEXTS = pytest.mark.parametrize("keep_text", [True, False], ids=["text", "no text"])


class Clock:
    """A clock that only the test moves; it serves as clock and as timer."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Topics(Embeddings):
    """Embeddings by a question's last word: the same word, the same direction."""

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * 64
        vector[sum(map(ord, text.strip(" ?.").split()[-1])) % 64] = 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class Found(BaseRetriever):
    """Finds the same documents for every question."""

    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


def desk(
    model: Runnable[Any, Any], retriever: Runnable[str, list[Document]], template: str
) -> Runnable[str, Any]:
    """A chain that puts documents and the question into a template."""

    def answer(question: str) -> Any:
        documents = retriever.invoke(question)
        texts = "\n\n".join(document.page_content for document in documents)
        text = template.format(documents=texts, question=question)
        return model.invoke([SystemMessage("You help."), HumanMessage(text)])

    async def aanswer(question: str) -> Any:
        documents = await retriever.ainvoke(question)
        texts = "\n\n".join(document.page_content for document in documents)
        text = template.format(documents=texts, question=question)
        return await model.ainvoke([SystemMessage("You help."), HumanMessage(text)])

    return RunnableLambda(answer, aanswer)


Ask = Callable[[Runnable[Any, Any], Sequence[Any]], Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Asks a Runnable several things, in either form."""

    async def sync_ask(
        runnable: Runnable[Any, Any], asked: Sequence[Any], config: Any
    ) -> list[Any]:
        return [runnable.invoke(each, config) for each in asked]

    async def async_ask(
        runnable: Runnable[Any, Any], asked: Sequence[Any], config: Any
    ) -> list[Any]:
        return [await runnable.ainvoke(each, config) for each in asked]

    return sync_ask if request.param == "sync" else async_ask


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_ledger(clock: Clock) -> Iterator[Callable[..., TokenLedger]]:
    """Makes ledgers that know the prices of the tests."""
    made: list[TokenLedger] = []

    def make(keep_text: bool = True, store: str = "memory://") -> TokenLedger:
        options = {"prices": PRICES, "clock": clock, "timer": clock}
        made.append(TokenLedger(store, keep_text=keep_text, **options))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(make_ledger: Callable[..., TokenLedger]) -> TokenLedger:
    return make_ledger()


@pytest.fixture
def model() -> Callable[..., ScriptedChatModel]:
    """Makes a stand-in that answers in turn and costs $10 and $100 a million tokens."""

    def make(*responses: Any, **options: Any) -> ScriptedChatModel:
        given = {"model_name": MODEL, "provider": PROVIDER, "loop": True, **options}
        return ScriptedChatModel(responses=list(responses) or ["Paris."], **given)

    return make

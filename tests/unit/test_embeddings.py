"""`local_embeddings`: vectors without a key or a network."""

import importlib.util
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from langchain_lean import local_embeddings
from langchain_lean.errors import ConfigurationError


@pytest.fixture(scope="module")
def embeddings() -> Embeddings:
    if importlib.util.find_spec("wordllama") is None:
        pytest.skip("needs the local extra")
    return local_embeddings()


def similarity(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_a_vector_has_256_numbers_and_length_1(embeddings):
    vector = embeddings.embed_query("How do I reset my card's PIN?")
    assert len(vector) == 256
    assert all(type(number) is float for number in vector)
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)


def test_texts_on_one_topic_are_nearer_than_texts_on_two(embeddings):
    card, pin, weather = embeddings.embed_documents(
        [
            "My bank card was stolen yesterday.",
            "Someone took my credit card.",
            "It will rain in the mountains tomorrow.",
        ]
    )
    assert similarity(card, pin) > 0.3 + similarity(card, weather)


def test_a_query_and_a_document_of_one_text_are_the_same(embeddings):
    [document] = embeddings.embed_documents(["one text"])
    assert embeddings.embed_query("one text") == pytest.approx(document, abs=1e-6)


async def test_the_async_forms_give_the_same(embeddings):
    assert await embeddings.aembed_query("one") == embeddings.embed_query("one")
    assert await embeddings.aembed_documents(["one", "two"]) == (
        embeddings.embed_documents(["one", "two"])
    )


def test_no_texts_give_no_vectors(embeddings):
    assert embeddings.embed_documents([]) == []


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=40))
@pytest.mark.parametrize("also", ["", " ", "🤷", "你好"])
def test_any_text_has_a_vector_of_length_1_or_0_and_no_nan(embeddings, also, text):
    for vector in embeddings.embed_documents([also, text]):
        length = math.hypot(*vector)
        assert length == 0 or math.isclose(length, 1, abs_tol=1e-3)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec

    def hidden(name: str, package: str | None = None) -> object:
        return None if name == "wordllama" else find(name, package)

    monkeypatch.setattr("langchain_lean.embeddings.find_spec", hidden)
    with pytest.raises(ConfigurationError) as caught:
        local_embeddings()
    assert "pip install 'langchain-lean-ai[local]'" in str(caught.value)

"""A cache over real OpenAI and Bedrock clients: their normal answers are kept."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_lean import SemanticCache
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply
from tests.unit.caching.caches import (
    Ask,
    WordEmbeddings,
    invoke,
    lean,
    stream,
)

ANSWER = "It comes on Monday."


@pytest.fixture(params=["chat", "responses", "bedrock"])
def model(
    request: pytest.FixtureRequest,
    chat_openai: MakeChatOpenAI,
    openai_server: ProviderServer,
    chat_bedrock: MakeChatBedrock,
    bedrock_server: ProviderServer,
) -> Any:
    """A client of each API, whose provider answers once."""
    if request.param == "bedrock":
        bedrock_server.reply(Reply(text=ANSWER))
        return chat_bedrock()
    openai_server.reply(Reply(text=ANSWER))
    return chat_openai(use_responses_api=request.param == "responses")


@pytest.mark.parametrize("ask", [invoke, stream])
async def test_an_answer_is_kept_in_whichever_form_it_came(
    ask: Ask, model: Any
) -> None:
    cached = SemanticCache(WordEmbeddings()).model(model)
    first = await ask(cached, "When does it come?")
    found = await invoke(cached, "When does it come?")
    assert (first.text, found.text) == (ANSWER, ANSWER)
    assert lean(found)["kind"] == "exact"


async def test_a_graph_that_streams_lets_answers_be_kept(model: Any) -> None:
    cached = SemanticCache(WordEmbeddings()).model(model)
    graph = StateGraph(MessagesState).add_node("answer", cached)
    agent = graph.add_edge(START, "answer").compile()
    given = {"messages": [HumanMessage("When does it come?")]}
    for _ in agent.stream(given, stream_mode="messages"):
        pass
    state = agent.invoke(given)
    assert lean(state["messages"][-1])["kind"] == "exact"

"""What is in prompts and answers: documents, history, wording, and their prefixes."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_lean import BudgetRetriever, SummaryMemory, TokenLedger, track
from langchain_lean.testing import ScriptedChatModel
from langchain_lean.whatif import what_if
from tests.unit.whatif.conftest import (
    CHEAP,
    PROVIDER,
    TEXTS,
    Ask,
    Clock,
    Found,
    Topics,
    desk,
)

Model = Callable[..., ScriptedChatModel]
Ledgers = Callable[..., TokenLedger]

TOPICS = Topics()
PLAIN = "{documents}\n\n{question}"
IN_WORDS = "Context:\n{documents}\n\nQuestion: {question}\nAnswer in a sentence."
CITIES = ("Rome", "Bonn", "Oslo", "Lima", "Kyiv")
DOCUMENTS = [
    Document(
        f"{city} is a capital of many years. It has a river and a hill. "
        f"People in {city} like to walk. The weather is fair in May."
    )
    for city in CITIES
]


@tool
def look_up(city: str) -> str:
    """Look a city up."""
    return city


@tool
def book(city: str, nights: int) -> str:
    """Book a room in a city for some nights, with breakfast and a view."""
    return f"{city} {nights}"


@TEXTS
async def test_fewer_documents_leave_the_first_ones_of_each_retrieval(
    make_ledger: Ledgers, model: Model, ask: Ask, keep_text: bool
) -> None:
    ledger = make_ledger(keep_text)
    chain = desk(model(), Found(documents=DOCUMENTS), PLAIN)
    await ask(chain, ["Where is Rome?"], {"callbacks": [ledger]})
    [entry] = ledger.entries()
    found = what_if(ledger, max_docs=2, embeddings=TOPICS)["top-k"]
    whole = sum(len(d.page_content) for d in DOCUMENTS)
    kept = sum(len(d.page_content) for d in DOCUMENTS[:2])
    left = round(entry.anatomy.retrieved * kept / whole)
    assert found.alone.tokens == entry.anatomy.retrieved - left > 0
    price = found.alone.dollars / found.alone.tokens
    assert price == pytest.approx(Decimal("0.00001"))


def test_documents_that_never_reached_the_prompt_are_not_counted(
    ledger: TokenLedger, model: Model
) -> None:
    retriever = Found(documents=DOCUMENTS)
    chain = desk(model(), retriever | (lambda found: found[:2]), PLAIN)
    chain.invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, max_docs=2, embeddings=TOPICS)
    assert found["top-k"].alone.tokens == 0


def others(question: str) -> list[Document]:
    """Documents that no other question is given."""
    return [Document(f"On {question}: {each.page_content}") for each in DOCUMENTS]


def threads(
    ledger: TokenLedger, model: Model, shown: Callable[[list[Document]], Any]
) -> TokenLedger:
    """Chats of four turns whose documents stay in the prompts of later turns.

    Args:
        ledger: Records them.
        model: Makes the model.
        shown: Which of the documents are sent.
    """
    for chat in CITIES[:2]:
        prompt: list[BaseMessage] = [SystemMessage("You help.")]
        for turn in range(4):
            question = f"Where do people walk in {chat} on day {turn}?"
            finding = Found(documents=others(question))

            def step(asked: str, prompt: Any = prompt, finding: Any = finding) -> None:
                texts = (d.page_content for d in shown(finding.invoke(asked)))
                prompt.append(HumanMessage("\n\n".join([*texts, asked])))
                prompt.append(model("By the river. " * 5).invoke(prompt))

            config: Any = {"callbacks": [ledger], "metadata": {"thread_id": chat}}
            RunnableLambda(step).invoke(question, config)
    return ledger


def agents(ledger: TokenLedger, model: Model, documents: int) -> TokenLedger:
    """The same with a retriever as the tool of an agent."""

    def answer(chat: list[BaseMessage]) -> AIMessage:
        if chat[-1].type != "human":
            return AIMessage("By the river. " * 5)
        call = {"name": "look", "args": {"query": chat[-1].text}, "id": str(len(chat))}
        return AIMessage("", tool_calls=[call])

    class Numbered(Found):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return others(query)[:documents]

    look = create_retriever_tool(Numbered(documents=[]), "look", "Looks things up.")
    agent = create_agent(model(answer), [look], checkpointer=InMemorySaver())
    for chat in CITIES[:2]:
        for turn in range(4):
            question = HumanMessage(f"Where do people walk in {chat} on day {turn}?")
            config: Any = {"configurable": {"thread_id": chat}, "callbacks": [ledger]}
            agent.invoke({"messages": [question]}, config)
    return ledger


def really(before: TokenLedger, after: TokenLedger) -> float:
    """The share of the dollars that is saved."""
    return 1 - float(after.totals().cost / before.totals().cost)


def test_documents_that_stay_in_a_chat_are_counted_in_every_later_prompt(
    make_ledger: Ledgers, model: Model
) -> None:
    before = threads(make_ledger(), model, lambda found: found)
    after = threads(make_ledger(), model, lambda found: found[:2])
    found = what_if(before, max_docs=2, embeddings=TOPICS)
    said = found.share(found["top-k"].alone)
    assert said == pytest.approx(really(before, after), abs=0.02)
    assert found["top-k"].alone.calls == 8


def test_documents_that_a_tool_found_are_counted_in_every_later_prompt(
    make_ledger: Ledgers, model: Model
) -> None:
    before, after = (agents(make_ledger(), model, k) for k in (5, 2))
    found = what_if(before, max_docs=2, embeddings=TOPICS)
    said = found.share(found["top-k"].alone)
    assert said == pytest.approx(really(before, after), abs=0.03)


def test_behind_fewer_documents_those_that_stay_are_cut_as_few(
    make_ledger: Ledgers, model: Model
) -> None:
    limits: dict[str, Any] = {"max_docs": 2, "max_doc_tokens": 20, "max_tokens": 1_000}
    few = agents(make_ledger(), model, 2)
    found, alone = (
        what_if(ledger, embeddings=TOPICS, **limits)
        for ledger in (agents(make_ledger(), model, 5), few)
    )
    cut = alone["chunk size"].alone.dollars
    assert float(found["chunk size"].added.dollars) == pytest.approx(
        float(cut), rel=0.1
    )


def test_documents_that_stay_are_cut_in_every_later_prompt(
    make_ledger: Ledgers, model: Model
) -> None:
    limits: dict[str, Any] = {"max_doc_tokens": 20, "max_tokens": 60}

    def cut(found: list[Document]) -> list[Document]:
        question = found[0].page_content[3:].split(":")[0]
        whole = Found(documents=found)
        budget = BudgetRetriever(
            retriever=whole, embeddings=TOPICS, max_docs=5, **limits
        )
        return budget.invoke(question)

    before = threads(make_ledger(), model, lambda found: found)
    after = threads(make_ledger(), model, cut)
    found = what_if(before, embeddings=TOPICS, **limits)
    said = found.share(found["chunk size"].alone)
    assert said == pytest.approx(really(before, after), abs=0.05)


def test_without_texts_documents_that_stay_are_not_claimed(
    make_ledger: Ledgers, model: Model
) -> None:
    seen, unseen = (
        threads(make_ledger(keep_text), model, lambda found: found)
        for keep_text in (True, False)
    )
    all_of_them = what_if(seen, max_docs=2, embeddings=TOPICS)["top-k"]
    some = what_if(unseen, max_docs=2)["top-k"]
    assert 0 < some.alone.tokens < all_of_them.alone.tokens
    assert (all_of_them.sure, some.sure) == ("exact", "assumed")
    assert "its own request alone" in some.assumption


def test_documents_that_were_rewritten_for_the_prompt_are_not_found_and_it_says_so(
    make_ledger: Ledgers, model: Model
) -> None:
    cut = [Document(each.page_content[:30]) for each in DOCUMENTS]
    ledger = make_ledger()
    chain = desk(model(), Found(documents=DOCUMENTS) | (lambda _: cut), PLAIN)
    chain.invoke("Where is Rome?", {"callbacks": [ledger]})
    missing = what_if(ledger, embeddings=TOPICS).missing
    for name in ("top-k", "chunk size"):
        assert missing[name].startswith("documents were retrieved, but none of them")
    whole = desk(model(), Found(documents=DOCUMENTS), PLAIN)
    whole.invoke("Where is Bonn?", {"callbacks": [ledger]})
    [said] = what_if(ledger, embeddings=TOPICS)["top-k"].details
    assert said.startswith("in 1 of 2 requests with a retrieval no document")


def test_without_a_retrieval_there_are_no_documents(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    missing = what_if(ledger, embeddings=TOPICS).missing
    assert {missing[name] for name in ("top-k", "chunk size")} == {
        "no retrieval was recorded"
    }


@pytest.mark.parametrize("template", [PLAIN, IN_WORDS])
async def test_documents_are_cut_as_the_retriever_itself_cuts_them(
    make_ledger: Ledgers, model: Model, ask: Ask, template: str
) -> None:
    retriever = Found(documents=DOCUMENTS)
    questions = [f"Where do people walk in {city}?" for city in CITIES]
    limits: dict[str, Any] = {"max_doc_tokens": 20, "max_tokens": 60}
    ledgers = []
    for asked in (
        retriever,
        BudgetRetriever(retriever=retriever, embeddings=TOPICS, max_docs=5, **limits),
    ):
        ledgers.append(make_ledger())
        chain = desk(model(), asked, template)
        await ask(chain, questions, {"callbacks": [ledgers[-1]]})
    before, after = (ledger.totals().cost for ledger in ledgers)
    found = what_if(ledgers[0], embeddings=TOPICS, **limits)["chunk size"]
    assert found.sure == "simulated"
    assert float(found.alone.dollars) == pytest.approx(float(before - after), rel=0.1)


def test_behind_fewer_documents_cutting_saves_what_is_left_to_cut(
    make_ledger: Ledgers, model: Model
) -> None:
    retriever, question = Found(documents=DOCUMENTS), "Where do people walk in Bonn?"
    limits: dict[str, Any] = {"max_docs": 2, "max_doc_tokens": 20, "max_tokens": 1_000}
    first = Found(documents=DOCUMENTS[:2])
    ledgers = []
    for asked in (
        retriever,
        BudgetRetriever(retriever=first, embeddings=TOPICS, **limits),
    ):
        ledgers.append(make_ledger())
        desk(model(), asked, PLAIN).invoke(question, {"callbacks": [ledgers[-1]]})
    before, after = (ledger.totals().cost for ledger in ledgers)
    found = what_if(ledgers[0], embeddings=TOPICS, **limits)
    both = sum(found[name].added.dollars for name in ("top-k", "chunk size"))
    assert float(both) == pytest.approx(float(before - after), rel=0.1)


def test_a_question_is_told_from_its_template_for_the_cache(
    ledger: TokenLedger, model: Model
) -> None:
    chain = desk(model(), Found(documents=DOCUMENTS), IN_WORDS)
    for question in ("Tell me where I find Rome", "In which country is Rome"):
        chain.invoke(question, {"callbacks": [ledger]})
    assert what_if(ledger, embeddings=TOPICS)["semantic cache"].alone.calls == 1


def chat(
    ledger: TokenLedger,
    model: Any,
    turns: int,
    memory: SummaryMemory | None = None,
    thread: str = "chat",
) -> None:
    """A conversation that grows by a question of 30 words with every turn."""
    prompt: list[BaseMessage] = [SystemMessage("You help.")]
    with track(ledger):
        for turn in range(turns):
            words = " ".join(f"word{turn}x{number}" for number in range(30))
            prompt.append(HumanMessage(f"Tell me about {thread} and {words}."))
            sent = memory.invoke(prompt) if memory else prompt
            config: Any = {"metadata": {"thread_id": thread}}
            prompt.append(model.invoke(sent, config))


def test_a_memory_would_have_shortened_what_it_shortens(
    make_ledger: Ledgers, model: Model
) -> None:
    before, after = make_ledger(), make_ledger()
    answer = "It is a word of the ninth turn, as far as anybody here can tell. " * 3
    chat(before, model(answer), 25)
    notes = model("- " + "a note of five words " * 12, model_name=CHEAP)
    options: dict[str, int] = {"keep_tokens": 300, "max_summary_tokens": 200}
    memory = SummaryMemory(notes, max_tokens=1_000, answer_model=model(), **options)
    chat(after, model(answer), 25, memory)
    found = what_if(
        before, memory_tokens=1_000, cheap=CHEAP, embeddings=TOPICS, **options
    )
    spent = before.totals().cost
    really = float((spent - after.totals().cost) / spent)
    assert really > 0.2
    assert found.share(found["history summary"].alone) == pytest.approx(really, abs=0.1)


def test_notes_cost_what_their_model_costs(ledger: TokenLedger, model: Model) -> None:
    chat(ledger, model("A long answer that says a bit. " * 8), 25)

    def saved(cheap: str | None) -> Decimal:
        options: dict[str, Any] = {"keep_tokens": 300, "max_summary_tokens": 200}
        found = what_if(
            ledger, memory_tokens=1_000, cheap=cheap, embeddings=TOPICS, **options
        )
        return found["history summary"].alone.dollars

    assert saved(None) < saved(CHEAP)


def test_documents_stand_behind_the_memory_and_do_not_count(
    ledger: TokenLedger, model: Model
) -> None:
    documents = Found(documents=[Document(f"Word{n} is a word. " * 99) for n in "abc"])

    def ask(turn: int) -> None:
        chat = [HumanMessage("Hello. " * 20), AIMessage("Hello. " * 20)] * 12
        texts = "\n".join(d.page_content for d in documents.invoke("words"))
        prompt = [*chat, HumanMessage(f"{texts}\nWhat is word {turn}?")]
        model().invoke(prompt)

    for turn in range(3):
        RunnableLambda(ask).invoke(turn, {"callbacks": [ledger]})
    [entry, *_] = ledger.entries()
    size = entry.usage.input - entry.anatomy.retrieved
    assert entry.anatomy.retrieved > size
    found = what_if(
        ledger,
        memory_tokens=round(size * 1.1),
        keep_tokens=10,
        max_summary_tokens=20,
        cheap=CHEAP,
        embeddings=TOPICS,
    )
    assert found["history summary"].alone.tokens == 0


def test_of_many_long_conversations_some_are_looked_at(
    make_ledger: Ledgers, model: Model
) -> None:
    shares, details = [], []
    for threads in (1, 60):
        ledger = make_ledger()
        for number in range(threads):
            chat(ledger, model("A long answer " * 20), 12, thread=f"chat {number}")
        found = what_if(
            ledger,
            memory_tokens=500,
            keep_tokens=100,
            max_summary_tokens=50,
            cheap=CHEAP,
            embeddings=TOPICS,
        )
        summary = found["history summary"]
        shares.append(found.share(summary.alone))
        details.append(summary.details[0])
    assert shares[0] == pytest.approx(shares[1], rel=0.05)
    assert "of 60 long conversations" in details[1]
    assert "seen on 60 " not in details[1]


def test_short_conversations_stay_as_they_are(
    ledger: TokenLedger, model: Model
) -> None:
    chat(ledger, model(), 5)
    assert what_if(ledger, embeddings=TOPICS)["history summary"].alone.tokens == 0


def test_sentences_that_stand_again_and_white_space_could_go(
    ledger: TokenLedger, model: Model
) -> None:
    rules = (
        "You always answer in French.  \n\n\n\nYou always answer in French. Be brief."
    )
    for question in ("Where is Rome?", "Where is Bonn?"):
        prompt = [SystemMessage(rules), HumanMessage(question)]
        model().invoke(prompt, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["system prompt"]
    assert found.alone.calls == 2
    share = found.alone.tokens / sum(e.anatomy.system for e in ledger.entries())
    assert 0.3 < share < 0.6
    assert found.details == ("1 repeated sentence",)
    tokens, _ = what_if(ledger, embeddings=TOPICS).per_1000_calls(found.alone)
    assert tokens == found.alone.tokens * 500


def test_white_space_is_counted_without_any_repeat(
    ledger: TokenLedger, model: Model
) -> None:
    rules = "Answer in French.      \n\n\n\n\n\nBe   brief.\n\n\n\n"
    for question in ("Where is Rome?", "Where is Bonn?"):
        prompt = [SystemMessage(rules), HumanMessage(question)]
        model().invoke(prompt, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["system prompt"]
    assert (found.alone.calls, found.details) == (2, ())


@pytest.mark.parametrize("times", [1, 2])
def test_a_system_message_of_one_question_alone_is_taken_for_data(
    ledger: TokenLedger, model: Model, times: int
) -> None:
    rules = "This sentence is a record. This sentence is a record."
    prompt = [SystemMessage(rules), HumanMessage("Where is Rome?")]
    for _ in range(times):
        model().invoke(prompt, {"callbacks": [ledger]})
    assert not what_if(ledger, embeddings=TOPICS)["system prompt"].alone.tokens


def test_tools_that_were_never_called_are_named(
    ledger: TokenLedger, model: Model
) -> None:
    called = {"name": "look_up", "args": {"city": "Rome"}, "id": "1"}
    agent = model(AIMessage("Let me see.", tool_calls=[called]))
    bound = agent.bind_tools([look_up, book])
    bound.invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["tool schemas"]
    assert found.details == ("never called: book",)
    [entry] = ledger.entries()
    assert 0 < found.alone.tokens < entry.anatomy.tools


def test_tools_that_a_provider_runs_itself_are_left_alone(
    ledger: TokenLedger, model: Model
) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    model().bind(tools=[search]).invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["tool schemas"]
    assert (found.alone.tokens, found.details) == (0, ())


@TEXTS
def test_an_output_cap_saves_what_is_written_behind_it(
    make_ledger: Ledgers, model: Model, keep_text: bool
) -> None:
    ledger = make_ledger(keep_text)
    model("one two three " * 50).invoke("Count.", {"callbacks": [ledger]})
    [entry] = ledger.entries()
    found = what_if(ledger, output_cap=20, embeddings=TOPICS)["output cap"]
    assert found.alone.tokens == entry.usage.output - 20
    assert found.alone.dollars == (entry.usage.output - 20) * Decimal("0.0001")


def test_by_default_a_cap_ends_the_longest_answers_alone(
    ledger: TokenLedger, model: Model
) -> None:
    lengths = [1] * 60 + [20] * 37 + [50] * 3
    for answer in ("one two three " * length for length in lengths):
        model(answer).invoke("Count.", {"callbacks": [ledger]})
    assert what_if(ledger, embeddings=TOPICS)["output cap"].alone.calls == 3


def prompts(words: int, count: int = 3) -> list[list[BaseMessage]]:
    """Prompts that differ in their question alone, behind a system prompt."""
    rules = SystemMessage(" ".join(f"rule{number}" for number in range(words)))
    return [[rules, HumanMessage(f"Where is {c}?")] for c in CITIES[:count]]


@TEXTS
async def test_a_prefix_is_written_once_and_read_from_then_on(
    make_ledger: Ledgers, model: Model, ask: Ask, clock: Clock, keep_text: bool
) -> None:
    ledger = make_ledger(keep_text)
    for prompt in prompts(2_000):
        await ask(model(), [prompt], {"callbacks": [ledger]})
        clock.now += 60
    found = what_if(ledger, embeddings=TOPICS)["prompt prefix"]
    system = next(ledger.entries()).anatomy.system
    expected = system * (2 * 0.9 - 0.25) * 0.00001
    assert float(found.alone.dollars) == pytest.approx(expected, rel=0.01)
    assert found.sure == "simulated"


@pytest.mark.parametrize(
    ("at", "pairs"), [((0, 60, 1_000), 1), ((0, 60, 1_000, 1_060), 2)]
)
def test_after_five_minutes_a_prefix_is_written_anew_where_that_pays(
    ledger: TokenLedger,
    model: Model,
    clock: Clock,
    at: tuple[int, ...],
    pairs: int,
) -> None:
    start = clock.now
    for seconds, prompt in zip(at, prompts(2_000, len(at)), strict=True):
        clock.now = start + seconds
        model().invoke(prompt, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["prompt prefix"]
    system = next(ledger.entries()).anatomy.system
    expected = pairs * system * (0.9 - 0.25) * 0.00001
    assert float(found.alone.dollars) == pytest.approx(expected, rel=0.01)


def test_a_cheaper_model_has_cheaper_prefixes(
    ledger: TokenLedger, model: Model, clock: Clock
) -> None:
    for prompt in prompts(2_000):
        model().invoke(prompt, {"callbacks": [ledger]})
        clock.now += 60
    found = what_if(ledger, cheap=CHEAP, acceptance=1.0, embeddings=TOPICS)
    prefix = found["prompt prefix"]
    assert float(prefix.added.dollars) == pytest.approx(
        float(prefix.alone.dollars) / 10
    )


@pytest.mark.parametrize(("words", "seconds"), [(2_000, 301), (50, 60)])
def test_a_short_prefix_and_one_that_comes_too_late_are_not_cached(
    ledger: TokenLedger, model: Model, clock: Clock, words: int, seconds: int
) -> None:
    for prompt in prompts(words):
        model().invoke(prompt, {"callbacks": [ledger]})
        clock.now += seconds
    assert what_if(ledger, embeddings=TOPICS)["prompt prefix"].alone.dollars == 0


def test_calls_side_by_side_cannot_read_what_the_others_write(
    ledger: TokenLedger, model: Model, clock: Clock
) -> None:
    async def slowly(seconds: float) -> None:
        await asyncio.sleep(0)
        clock.now = 1_790_000_000.0 + seconds

    slow = model(latency=(10.0, 0.0), asleep=slowly)

    async def all_at_once() -> None:
        asked = (slow.ainvoke(p, {"callbacks": [ledger]}) for p in prompts(2_000))
        await asyncio.gather(*asked)

    asyncio.run(all_at_once())
    assert what_if(ledger, embeddings=TOPICS)["prompt prefix"].alone.dollars == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cache_prefix": True}, "cached already"),
        ({"model_name": "gpt-4.1", "provider": "openai"}, "by itself"),
        ({"model_name": "command-r", "provider": "cohere"}, "no cache points"),
    ],
)
def test_nothing_is_claimed_where_cache_points_would_change_nothing(
    ledger: TokenLedger, model: Model, options: dict[str, Any], reason: str
) -> None:
    asked = model(**options)
    for prompt in prompts(2_000):
        asked.invoke(prompt, {"callbacks": [ledger]})
    assert reason in what_if(ledger, embeddings=TOPICS).missing["prompt prefix"]


def test_a_model_that_answers_under_a_name_without_a_price_is_left_alone(
    ledger: TokenLedger, model: Model
) -> None:
    alias = AIMessage("Paris.", response_metadata={"model_name": "claude-of-mine"})
    for prompt in prompts(2_000):
        model(alias).invoke(prompt, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)
    assert found.spent == ledger.totals().cost > 0
    assert "no price" in found.missing["prompt prefix"]


def test_a_history_is_cached_from_turn_to_turn(
    ledger: TokenLedger, model: Model
) -> None:
    answer = "A long answer that says much of what there is to say. " * 60
    chat(ledger, model(answer), 12)
    found = what_if(ledger, embeddings=TOPICS)
    assert (found.share(found["prompt prefix"].alone) or 0) > 0.25


def test_without_texts_it_says_what_they_would_tell(
    make_ledger: Ledgers, model: Model
) -> None:
    ledger = make_ledger(keep_text=False)
    chain = desk(model(), Found(documents=DOCUMENTS), PLAIN)
    chain.invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, cheap=(CHEAP, PROVIDER), acceptance=0.5)
    assert [name for name, why in found.missing.items() if "keep_text=True" in why] == [
        "semantic cache",
        "chunk size",
        "history summary",
        "system prompt",
        "tool schemas",
    ]
    computed = {"exact cache", "cheap first", "top-k", "output cap", "prompt prefix"}
    assert {lever.name for lever in found.levers} == computed

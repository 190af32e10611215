"""How long a memory takes to compress a long chat, and to see that nothing is to do."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import tiktoken
from langchain_core.messages import AIMessage, BaseMessage, trim_messages
from langchain_core.messages.ai import UsageMetadata
from pydantic import PrivateAttr

from langchain_lean import TokenCounter
from langchain_lean.accounting.tokens.text import load_encoding, rank_file
from langchain_lean.context.memory import SummaryMemory
from tests.benchmarks.ledger_overhead import InstantModel, microseconds
from tests.benchmarks.memory_conversation import MODEL, count, generated
from tests.benchmarks.memory_methods import LIMIT

ENCODING = "o200k_base"
MESSAGES = 4_000
SIZES = (10, 100, 1_000, 4_000)
ROUNDS, CHECKS = 5, 100
HUGE = 10**9


class TimedModel(InstantModel):
    """A summarizer that notes how long its calls take."""

    _spent: float = PrivateAttr(0.0)

    def invoke(self, *args: Any, **kwargs: Any) -> AIMessage:
        """Answer at once."""
        started = time.perf_counter()
        answer = super().invoke(*args, **kwargs)
        self._spent += (time.perf_counter() - started) * 1e6
        return answer

    @property
    def spent(self) -> float:
        """Microseconds of all calls."""
        return self._spent


def compression() -> tuple[float, float]:
    """Microseconds to compress a chat: ours, and `trim_messages`, medians of rounds.

    Both count its messages for the first time in every round. The calls of the
    summarizer are not ours.
    """
    said = chat(MESSAGES)
    plain = tiktoken_count()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        counter, model = TokenCounter(), TimedModel()
        counter.base  # noqa: B018 - loads the encoding
        compress = SummaryMemory(model, always=True, counter=counter).invoke
        taken = microseconds(partial(compress, {"messages": said}), 1)
        assert model.spent, "nothing was summed up"
        ours.append(taken - model.spent)
        trim = partial(
            trim_messages, said, max_tokens=LIMIT, token_counter=plain,
            include_system=True, start_on="human",
        )  # fmt: skip
        theirs.append(microseconds(trim, 1))
    return median(ours), median(theirs)


def checks() -> dict[int, float]:
    """Microseconds of a turn's check that changes nothing, by messages there are."""
    memory = SummaryMemory(InstantModel(), max_tokens=HUGE, counter=TokenCounter())
    states = {size: {"messages": chat(size)} for size in SIZES}
    assert not any(memory.invoke(state) for state in states.values())
    rounds = [
        {
            size: microseconds(partial(memory.invoke, state), CHECKS)
            for size, state in states.items()
        }
        for _ in range(ROUNDS)
    ]
    return {size: median(each[size] for each in rounds) for size in SIZES}


def chat(messages: int) -> list[BaseMessage]:
    """A system message, so many of 60 words, and a new question.

    The last answer says what was read before it, as a provider does.
    """
    turns = generated(turns=messages // 2 + 1, facts=0)
    *said, answer, question, _ = [m for turn in turns for m in (*turn.new, turn.answer)]
    assert isinstance(answer, AIMessage)
    sent, out = count(said), count([answer])
    answer.usage_metadata = UsageMetadata(
        input_tokens=sent, output_tokens=out, total_tokens=sent + out
    )
    answer.response_metadata["model_name"] = MODEL
    return [*said, answer, question]


def tiktoken_count() -> Callable[[list[BaseMessage]], int]:
    """What users write to count with tiktoken."""
    file = rank_file(ENCODING)
    encoding = load_encoding(ENCODING, file) if file else None
    encoding = encoding or tiktoken.get_encoding(ENCODING)
    return lambda messages: sum(len(encoding.encode(m.text)) + 3 for m in messages)

"""What the memory benchmark compares: ways to choose what of a chat is sent."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import BaseMessage, trim_messages
from langgraph.graph.message import add_messages

from langchain_lean.context.memory import SummaryMemory
from langchain_lean.messages import role
from tests.benchmarks.memory_conversation import (
    COUNTER,
    MODEL,
    Bill,
    Conversation,
    Provider,
    Summarizer,
    count,
    found_in,
)
from tests.prompt_shapes import converse_refusal, openai_refusal

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Importing Send from langgraph.constants")
    from langmem.short_term import SummarizationNode

LIMIT, KEEP = 4_000, 1_500
OURS = "ours"
ALWAYS = "ours, always=True"

Messages = list[BaseMessage]
Memory = Callable[[Messages], Messages]
"""Takes what was said since it was last asked; gives the prompt to send now."""

Method = Callable[[Summarizer], Memory]
"""Makes the memory of one conversation; the summarizer's `max_tokens` is its cap."""


def full_history(_: Summarizer) -> Memory:
    """Everything, as it was said."""
    said: Messages = []

    def prompt(new: Messages) -> Messages:
        said.extend(new)
        return [*said]

    return prompt


def trimmed(max_tokens: int) -> Method:
    """What `trim_messages` leaves of everything, in the form its guide recommends."""

    def method(summarizer: Summarizer) -> Memory:
        history = full_history(summarizer)
        return lambda new: trim_messages(
            history(new),
            max_tokens=max_tokens,
            token_counter=count,
            strategy="last",
            include_system=True,
            start_on="human",
            end_on=("human", "tool"),
        )

    return method


def middleware(summarizer: Summarizer) -> Memory:
    """LangChain's `SummarizationMiddleware`; in an agent it never sees the system.

    What it does not summarize of more than 4,000 tokens does not matter at this limit.
    """
    compress = SummarizationMiddleware(
        summarizer,
        trigger=("tokens", LIMIT),
        keep=("tokens", KEEP),
        token_counter=count,
    )
    system: Messages = []
    said: Messages = []

    def prompt(new: Messages) -> Messages:
        nonlocal said
        system.extend(each for each in new if role(each) == "system")
        said += [each for each in new if role(each) != "system"]
        update = compress.before_model({"messages": said}, None)  # type: ignore[arg-type,typeddict-item]
        said = _updated(said, update)
        return system + said

    return prompt


def summarization_node(**limits: int) -> Method:
    """langmem's `SummarizationNode`, which keeps the history and gives a view of it."""

    def method(summarizer: Summarizer) -> Memory:
        cap = summarizer.max_tokens
        node = SummarizationNode(
            model=summarizer, max_summary_tokens=cap, token_counter=count, **limits
        )
        history = full_history(summarizer)
        context: dict[str, Any] = {}

        def prompt(new: Messages) -> Messages:
            update = node.invoke({"messages": history(new), "context": context})
            context.update(update.get("context", {}))
            return update["summarized_messages"]

        return prompt

    return method


def ours(*, summarize: bool = True, **options: Any) -> Method:
    """`SummaryMemory` as a graph's node."""

    def method(summarizer: Summarizer) -> Memory:
        memory = SummaryMemory(
            summarizer if summarize else None,
            max_tokens=LIMIT,
            keep_tokens=KEEP,
            max_summary_tokens=summarizer.max_tokens,
            answer_model=summarizer,
            counter=COUNTER,
            **options,
        )
        said: Messages = []

        def prompt(new: Messages) -> Messages:
            nonlocal said
            said += new
            said = _updated(said, memory.invoke({"messages": said}))
            return [*said]

        return prompt

    return method


def _updated(said: Messages, update: dict[str, Any] | None) -> Messages:
    """What a graph's state holds after an update."""
    changes = (update or {}).get("messages")
    return add_messages(said, changes) if changes else said  # type: ignore[return-value]


def methods(cap: int, system: int) -> dict[str, Method]:
    """What is compared, by name.

    langmem's limit is on what is new since its last summary. To keep the whole prompt
    below it, "fitted" begins at what the system and a summary at its cap leave; and
    its `max_tokens`, by which it cuts what its summarizer reads, is too large to cut.

    Args:
        cap: The most tokens of a summary.
        system: Tokens of the system message.
    """
    room = LIMIT - cap - system
    return {
        "full history": full_history,
        f"trim_messages, {LIMIT:,}": trimmed(LIMIT),
        f"trim_messages, {KEEP:,}": trimmed(KEEP),
        "SummarizationMiddleware": middleware,
        "SummarizationNode": summarization_node(
            max_tokens=LIMIT, max_tokens_before_summary=LIMIT
        ),
        "SummarizationNode, fitted": summarization_node(
            max_tokens=2 * LIMIT, max_tokens_before_summary=room
        ),
        OURS: ours(),
        ALWAYS: ours(always=True),
        "ours, model=None": ours(summarize=False),
    }


@dataclass
class Figures:
    """What came of conversations with one method.

    Attributes:
        answers: The bill for the answers.
        summaries: The bill for the summaries.
        largest: Tokens of the largest prompt of an answer.
        refused: Prompts that OpenAI or Bedrock Converse would refuse.
        kept: Of what was said so far and must be known, the share that is sent; by
            call.
        last: The same for the last call of each conversation.
    """

    answers: Bill
    summaries: Bill
    largest: int
    refused: int
    kept: list[float]
    last: list[float]

    @property
    def input(self) -> int:
        """All tokens that were sent."""
        return self.answers.input + self.summaries.input

    @property
    def dollars(self) -> float:
        """All that was paid."""
        return float(self.answers.dollars + self.summaries.dollars)

    def __add__(self, other: "Figures") -> "Figures":
        """Both together."""
        return Figures(
            self.answers + other.answers,
            self.summaries + other.summaries,
            max(self.largest, other.largest),
            self.refused + other.refused,
            self.kept + other.kept,
            self.last + other.last,
        )


Rows = dict[str, Figures]
"""Figures by the name of the method."""


class Sent(NamedTuple):
    """A call as it was made.

    Attributes:
        new: What was said since the call before it.
        prompt: What was sent.
        tokens: Input tokens of it.
    """

    new: Messages
    prompt: Messages
    tokens: int


def played(
    conversation: Conversation, method: Method, pattern: re.Pattern[str], cap: int
) -> Figures:
    """Play a conversation, and judge every prompt.

    Args:
        conversation: The conversation.
        method: What chooses the prompts.
        pattern: Finds what must be known.
        cap: The most tokens of a summary.
    """
    provider = Provider()
    summarizer = Summarizer(pattern=pattern, billed_by=provider, max_tokens=cap)
    known: set[str] = set()
    kept, refused, largest = [], 0, 0
    for new, prompt, tokens in calls(conversation, method(summarizer), provider):
        known |= found_in(new, pattern)
        refused += bool(openai_refusal(prompt) or converse_refusal(prompt))
        largest = max(largest, tokens)
        if known:
            kept.append(len(known & found_in(prompt, pattern)) / len(known))
    bills = provider.bills
    return Figures(
        bills["answers"], bills["summaries"], largest, refused, kept, kept[-1:]
    )


def calls(
    conversation: Conversation, memory: Memory, provider: Provider
) -> Iterator[Sent]:
    """Make the calls of a conversation, each after asking a memory what to send."""
    labels = {"model_name": MODEL, "model_provider": "bedrock_converse"}
    said: Messages = []
    for new, recorded in conversation:
        said += new
        prompt = memory(said)
        usage = provider.bill("answers", prompt, recorded)
        yield Sent(said, prompt, usage["input_tokens"])
        reported = {"usage_metadata": usage, "response_metadata": labels}
        said = [recorded.model_copy(update=reported)]


def after_compressions(
    conversation: Conversation, method: Method, wanted: int, cap: int
) -> tuple[int, Messages]:
    """Play a conversation until it was compressed a number of times, or ends.

    Returns:
        How many times it was, and the prompt sent then.
    """
    provider = Provider()
    memory = method(Summarizer(billed_by=provider, max_tokens=cap))
    compressions = summaries = 0
    prompt: Messages = []
    for sent in calls(conversation, memory, provider):
        prompt = sent.prompt
        compressions += provider.bills["summaries"].calls > summaries
        summaries = provider.bills["summaries"].calls
        if compressions == wanted:
            break
    return compressions, prompt


def together(figures: Iterable[Figures]) -> Figures:
    """The figures of several conversations as those of one."""
    first, *rest = figures
    return sum(rest, first)

"""What a monitor has seen of prompt prefixes, as values and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from langchain_lean.accounting.prices.cost import ZERO, exact
from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.tables import borderless
from langchain_lean.accounting.usage import TokenUsage

_SHOWN = 10
_NARROWEST = 100
_UNTOLD = "nothing was cached; set cache points (cache_points)"
_COLUMNS = ("calls", "input", "common", "read", "won", "lost")


class PromptId(NamedTuple):
    """Which prompt a call sends, apart from all others.

    Attributes:
        thread: The conversation; None where nobody says.
        model: The model that is asked.
        node: The graph nodes it is asked in, outermost first.
        agent: The agent it is asked by.
        source: The lever or middleware that asks on its own behalf.
        tools: The names of its tools, sorted, where none of the three tells.
    """

    thread: str | None = None
    model: str | None = None
    node: str | None = None
    agent: str | None = None
    source: str | None = None
    tools: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = (self.source, self.agent, self.node, self.model)
        return words.printable(" · ".join(filter(None, said)) or "(unknown)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixChange:
    """The first byte of a prompt that was not as in the call before.

    Attributes:
        prompt: Whose prompt it is: the thread, the model, and the node or agent that
            made the call, as far as its metadata tells.
        run_id: LangChain's id of the call, as text.
        at: When it began.
        kind: What changed: a tool or a message.
        index: Its number among the tools or the messages, from 0.
        name: The tool's name, or the message's role.
        offset: The first changed byte of it; of a tool, in its schema as JSON.
        common_tokens: Tokens the prompt has in common with the one before, up to there.
        prompt_tokens: Tokens of the prompt, as the provider counted.
        lost_tokens: Tokens behind it that stood in the call before, too, and that the
            provider would have read from its cache.
    """

    prompt: PromptId
    run_id: str
    at: datetime
    kind: Literal["tool", "message"]
    index: int
    name: str
    offset: int
    common_tokens: int
    prompt_tokens: int
    lost_tokens: int

    @property
    def where(self) -> str:
        """The place in a few words: `message 0 (system), byte 312`."""
        name = words.printable(self.name)
        return f"{self.kind} {self.index} ({name}), byte {self.offset:,}"

    def __str__(self) -> str:
        lost = f", {words.count(self.lost_tokens)} tokens read anew"
        return f"{_named(self.prompt)}: {self.where}{lost if self.lost_tokens else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPrefix:
    """How well the prefix of one prompt held, or of several together.

    Attributes:
        prompt: Which prompt; empty where these are several.
        calls: How many calls sent it and were answered.
        changes: In how many of them something had changed since the call before.
        usage: What they used, as far as the provider said.
        common_tokens: Input tokens that stood as in the call before, from the first on.
        lost_tokens: Input tokens that a change in front of them kept from being read
            from the provider's cache.
        won: Dollars the provider's cache saved, less the premium paid for writes.
        lost: Dollars that the lost tokens cost more than a read.
        unpriced: How many calls are in neither: no price is known, or nobody read the
            report for 10,000 calls.
        untold: In how many calls a prompt that was long enough was neither read from
            the cache nor written, at a provider that caches where it is told to.
        last_change: The newest change.
    """

    prompt: PromptId = field(default_factory=PromptId)
    calls: int = 0
    changes: int = 0
    usage: TokenUsage = TokenUsage()
    common_tokens: int = 0
    lost_tokens: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO
    unpriced: int = 0
    untold: int = 0
    last_change: PrefixChange | None = None

    @property
    def hit_rate(self) -> float:
        """Share of the input that was read from the provider's cache, from 0 to 1."""
        return self.usage.cache_read / (self.usage.input or 1)

    @property
    def common_rate(self) -> float:
        """Share of the input that stood as in the call before, from 0 to 1."""
        return self.common_tokens / (self.usage.input or 1)

    def __add__(self, other: "PromptPrefix") -> "PromptPrefix":
        """Add two; which prompt and the newest change stay only where they agree."""
        if not isinstance(other, PromptPrefix):
            return NotImplemented
        with exact():
            won, lost = self.won + other.won, self.lost + other.lost
        same = self.prompt == other.prompt
        return PromptPrefix(
            prompt=self.prompt if same else PromptId(),
            calls=self.calls + other.calls,
            changes=self.changes + other.changes,
            usage=self.usage + other.usage,
            common_tokens=self.common_tokens + other.common_tokens,
            lost_tokens=self.lost_tokens + other.lost_tokens,
            won=won,
            lost=lost,
            unpriced=self.unpriced + other.unpriced,
            untold=self.untold + other.untold,
            last_change=(other.last_change or self.last_change) if same else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReport:
    """How well the prefixes of all prompts held; `print` shows it as a table.

    It holds no text that a user or a model wrote.

    Attributes:
        prompts: By prompt, the one with the greatest loss first.
        older: The sum of those that are not kept one by one any more.
    """

    prompts: tuple[PromptPrefix, ...] = ()
    older: PromptPrefix = field(default_factory=PromptPrefix)

    @property
    def total(self) -> PromptPrefix:
        """The sum of all."""
        return sum(self.prompts, self.older)

    def thread(self, thread_id: str | None) -> tuple[PromptPrefix, ...]:
        """The prompts of one thread."""
        return tuple(p for p in self.prompts if p.prompt.thread == thread_id)

    def __str__(self) -> str:
        return words.as_text(self, narrowest=_NARROWEST)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Show it as a table, in color where the console has any."""
        yield from self._lines()

    def _lines(self) -> Iterator[Text | Table]:
        total = self.total
        said = [
            f"prompt prefixes · {words.many(total.calls, 'call')}",
            f"{words.share(total.hit_rate)} of the input cached",
            f"won {_dollars(total.won, total)}",
            f"lost {_dollars(total.lost, total)}",
        ]
        yield Text(" · ".join(said), style="bold")
        if total.unpriced:
            yield Text(f"{words.many(total.unpriced, 'call')} unpriced", style="yellow")
        if self.prompts:
            yield self._table()
        for row in self.prompts[:_SHOWN]:
            if row.last_change:
                yield Text(f"{row.last_change}", style="yellow")
        if total.untold > 1 and not total.hit_rate:
            yield Text(_UNTOLD, style="yellow")
        more = len(self.prompts) - _SHOWN
        if more > 0:
            yield Text(f"and {words.many(more, 'more prompt')}", style="dim")

    def _table(self) -> Table:
        table = borderless()
        table.add_column("prompt", overflow="fold")
        table.add_column("thread", overflow="fold")
        for name in (*_COLUMNS, "changes"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.prompts[:_SHOWN]:
            thread = words.printable(row.prompt.thread or "-")
            cells = (
                f"{row.calls:,}",
                words.count(row.usage.input),
                words.share(row.common_rate),
                words.share(row.hit_rate),
                _dollars(row.won, row),
                _dollars(row.lost, row),
                f"{row.changes:,}",
            )
            table.add_row(*map(Text, (str(row.prompt), thread, *cells)))
        return table


def _named(prompt: PromptId) -> str:
    """A prompt with its thread, on one line."""
    thread = prompt.thread
    return f"{prompt} · thread {words.printable(thread)}" if thread else str(prompt)


def _dollars(amount: Decimal, row: PromptPrefix) -> str:
    """Where no call has a price the amount is unknown, and not nothing."""
    known = row.unpriced < row.calls or not row.calls
    return words.money(amount) if known else "unpriced"

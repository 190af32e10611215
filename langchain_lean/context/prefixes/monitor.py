"""A callback that tells what breaks the prefix of a prompt, and what that costs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_lean.accounting.prices.cost import exact
from langchain_lean.accounting.recording.calls import provider_of
from langchain_lean.accounting.recording.careful import (
    CarefulHandler,
    never_raises,
)
from langchain_lean.accounting.recording.reading import is_cache_hit
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.prefixes.comparing import (
    Comparison,
    had_it_been_read,
    in_tokens,
    lost_tokens,
    was_untold,
)
from langchain_lean.context.prefixes.kept import (
    PROMPTS,
    Asked,
    Before,
    KeptPrompts,
    goes_on,
)
from langchain_lean.context.prefixes.limits import cache_rules
from langchain_lean.context.prefixes.parts import prompt_parts
from langchain_lean.context.prefixes.reading import (
    answer_of,
    answering_model,
    prompt_id,
    usage_of,
)
from langchain_lean.context.prefixes.report import (
    PrefixChange,
    PrefixReport,
    PromptId,
    PromptPrefix,
)
from langchain_lean.context.prefixes.worth import default_prices

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import LLMResult

    from langchain_lean.accounting.prices.book import PriceBook

_CALLS = 10_000
_CLOSED_BY_CALLER = ("GeneratorExit", "CancelledError")


class _Answered(NamedTuple):
    """A call whose price is not known yet: it is looked up when the report is read."""

    prompt: PromptId
    usage: TokenUsage
    lost: int
    model: str
    provider: str | None
    at: float


class PrefixMonitor(CarefulHandler):
    """Compares each prompt with those before it, and with what the provider cached.

    Give it to a chain or graph as a callback. Prompts are told apart by thread, model
    and the node, agent or lever that asks; where none of the three is known, by the
    names of their tools. Of the last four of a kind it is compared with the one it has
    most in common with. A call counts when it is answered, since a provider's cache
    begins then; answers from LangChain's own cache are left out.

    Safe to use from many threads, and never breaks a chain. The bytes of the newest
    prompts of each kind are kept in memory, of 1,000 kinds and 64 MB at most, calls
    under way among them; the report holds none of them. Changes are those of the tools
    and messages in front of the newest turn of the prompt before, so that the next
    question is none; behind that they count where tokens were lost: where a call was
    cached before and less than five minutes ago (an hour, where its thread wrote it
    for one), what stood behind the first change counts as lost.

    Args:
        prices: Where prices come from; a `PriceBook()` by default. They are looked up
            when the report is read, never in a call.
        clock: Seconds since the epoch.

    Example:
        ```python
        monitor = PrefixMonitor()
        graph.invoke(question, config={"callbacks": [monitor]})
        print(monitor.report())
        ```
    """

    run_inline = True

    def __init__(
        self,
        *,
        prices: PriceBook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._prices, self._clock = prices, clock
        self._changing, self._reading = threading.Lock(), threading.Lock()
        self._kept = KeptPrompts()
        self._rows: dict[PromptId, PromptPrefix] = {}
        self._older = PromptPrefix()
        self._unread: deque[_Answered] = deque()
        self._changes: deque[PrefixChange] = deque(maxlen=PROMPTS)

    def report(self) -> PrefixReport:
        """How well the prefixes of all prompts held so far."""
        with self._reading:
            with self._changing:
                unread, self._unread = self._unread, deque()
            priced = [self._priced(call) for call in unread]
            with self._changing:
                for row in priced:
                    self._add(row)
                rows = sorted(self._rows.values(), key=lambda r: (-r.lost, -r.won))
                return PrefixReport(prompts=tuple(rows), older=self._older)

    def changes(self) -> tuple[PrefixChange, ...]:
        """The newest 1,000 changes, oldest first."""
        with self._changing:
            return tuple(self._changes)

    @never_raises
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the prompt down."""
        options = kwargs.get("invocation_params")
        options = options if isinstance(options, Mapping) else {}
        said = metadata or {}
        parts = prompt_parts(
            messages[0] if messages else [], options.get("tools") or ()
        )
        prompt, provider = prompt_id(options, said, parts), provider_of(said, None)
        asked = Asked(prompt, parts, provider, self._clock())
        with self._changing:
            self._kept.begin(run_id, asked)

    @never_raises
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Compare the prompt with the one before."""
        self._end(run_id, response)

    @never_raises
    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Compare where the caller closed the stream; else forget the call."""
        if type(error).__name__ in _CLOSED_BY_CALLER:
            self._end(run_id, kwargs.get("response"))
        else:
            with self._changing:
                self._kept.end(run_id)

    def _end(self, run_id: UUID, result: LLMResult | None) -> None:
        message = answer_of(result)
        usage = usage_of(result)
        with self._changing:
            asked = self._kept.end(run_id)
            if asked is None or is_cache_hit(message):
                return
            before, compared = self._kept.most_alike(asked)
            self._kept.keep(asked, usage, before, compared)
            self._take(str(run_id), asked, usage, before, compared, message)

    def _take(
        self,
        run_id: str,
        asked: Asked,
        usage: TokenUsage,
        before: Before | None,
        compared: Comparison | None,
        message: AIMessage | None,
    ) -> None:
        prompt, provider = asked.prompt, asked.provider or provider_of({}, message)
        model = answering_model(message) or prompt.model or ""
        rules = cache_rules(model, provider)
        untold = was_untold(usage, rules)
        row = PromptPrefix(prompt=prompt, calls=1, usage=usage, untold=int(untold))
        lost = 0
        if before is not None and compared is not None:
            lost = lost_tokens(
                compared,
                usage,
                before.usage,
                seconds=asked.at - before.asked.at,
                hour=before.hour,
                rules=rules,
            )
            common = in_tokens(compared.common, compared, usage)
            row = replace(row, common_tokens=common, lost_tokens=lost)
            change = _change(run_id, asked, usage, compared, lost)
            if change is not None and (lost or not goes_on(before, compared)):
                row = replace(row, changes=1, last_change=change)
                self._changes.append(change)
        self._add(row)
        self._unread.append(_Answered(prompt, usage, lost, model, provider, asked.at))
        if len(self._unread) > _CALLS:
            dropped = self._unread.popleft()
            self._add(PromptPrefix(prompt=dropped.prompt, unpriced=1))

    def _add(self, row: PromptPrefix) -> None:
        known = self._rows.get(row.prompt)
        if known is None and not row.calls:  # its prompt is among the older ones
            self._older += row
            return
        self._rows.pop(row.prompt, None)
        self._rows[row.prompt] = known + row if known else row
        if len(self._rows) > PROMPTS:
            self._older += self._rows.pop(next(iter(self._rows)))

    def _priced(self, call: _Answered) -> PromptPrefix:
        row = PromptPrefix(prompt=call.prompt)
        book = self._prices or default_prices()
        at = datetime.fromtimestamp(call.at, UTC)
        read = had_it_been_read(call.usage, call.lost)
        sent = had_it_been_read(call.usage, 0)
        try:
            won = book.cost(call.usage, call.model, call.provider, at).cache_saved
            paid = book.cost(sent, call.model, call.provider, at).input
            least = book.cost(read, call.model, call.provider, at).input
        except Exception:  # a book of the caller's may raise what it likes
            return replace(row, unpriced=1)
        with exact():
            return replace(row, won=won, lost=paid - least)


def _change(
    run_id: str, asked: Asked, usage: TokenUsage, compared: Comparison, lost: int
) -> PrefixChange | None:
    part = compared.part
    if part is None:
        return None
    return PrefixChange(
        prompt=asked.prompt,
        run_id=run_id,
        at=datetime.fromtimestamp(asked.at, UTC),
        kind=part.kind,
        index=compared.index,
        name=part.name,
        offset=compared.offset,
        common_tokens=in_tokens(compared.common, compared, usage),
        prompt_tokens=usage.input,
        lost_tokens=lost,
    )

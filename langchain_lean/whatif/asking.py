"""From a ledger and what is to be tried on it to what that would have saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context
from functools import cached_property
from typing import TYPE_CHECKING

from langsmith import tracing_context

from langchain_lean.accounting.prices.cost import ZERO, exact
from langchain_lean.accounting.tracking import tracked
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError
from langchain_lean.progress import OnProgress, progress_bar
from langchain_lean.whatif import answers, documents, history, models, prefix, wording
from langchain_lean.whatif.combining import Credit, combined
from langchain_lean.whatif.costs import Change
from langchain_lean.whatif.options import Options
from langchain_lean.whatif.questions import Questions
from langchain_lean.whatif.result import Lever, WhatIf
from langchain_lean.whatif.standing import Standing
from langchain_lean.whatif.traffic import Traffic

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.whatif.traffic import Model

Tried = tuple[str, Change | str]
"""A lever, and what it changes; or why there is nothing to say about it."""

_NEEDS_TEXT = "needs a ledger recorded with keep_text=True"
_NO_RETRIEVAL = "no retrieval was recorded"
_NO_DOCUMENTS = (
    "documents were retrieved, but none of them stands word for word in a prompt"
)
_NO_EMBEDDINGS = (
    "needs embeddings: give embeddings=, or pip install 'langchain-lean-ai[local]'"
)
_NO_CHEAP = 'needs a model to try: give cheap="its name", or a pair with its provider'
_NO_ACCEPTANCE = (
    "needs the share of cheap answers that are good enough: give acceptance=, or a "
    "ledger in which a router's answers were seen"
)
_LISTENING = "Call what_if outside of track(all_threads=True), which would record it."


def what_if(
    ledger: TokenLedger,
    *,
    max_docs: int = 3,
    max_doc_tokens: int = 400,
    max_tokens: int = 1200,
    memory_tokens: int = 4000,
    keep_tokens: int = 1500,
    max_summary_tokens: int = 400,
    cheap: Model | str | None = None,
    acceptance: float | None = None,
    embeddings: Embeddings | None = None,
    threshold: float | None = None,
    tenant_by: str | None = None,
    tool_calls: bool = False,
    output_cap: int | None = None,
    max_calls: int = 10_000,
    on_progress: OnProgress | None = None,
) -> WhatIf:
    """Say what each lever would have saved on the traffic a ledger recorded.

    With texts (`keep_text=True`) the levers themselves are run on it. Without, what
    lengths, hashes and prices tell is computed, and `missing` says what is not. No
    model is asked, and nothing leaves the process but the questions, where
    `embeddings` are a provider's.

    Args:
        ledger: What was recorded.
        max_docs: Documents of each retrieval that are still sent.
        max_doc_tokens: Tokens of each document, as for a `BudgetRetriever`.
        max_tokens: Tokens of all of them, the same.
        memory_tokens: Tokens from which a conversation is made shorter, the
            `max_tokens` of a `SummaryMemory`.
        keep_tokens: Tokens of the newest turns it then keeps, the same.
        max_summary_tokens: Tokens of its notes, the same.
        cheap: The model that answers first, and takes the notes: its name, or a pair
            with its provider. Without it notes are taken by the answering model.
        acceptance: The share of its answers that are good enough, from 0 to 1; what
            this ledger's own router accepted if not given.
        embeddings: Find questions in other words and sentences near to a question;
            those of the `local` extra if not given, where that is installed.
        threshold: The cosine from which a question is close enough, as for a
            `SemanticCache`.
        tenant_by: `user_id` or `thread_id`: who must be the same to be given a cached
            answer; None: all share.
        tool_calls: Also cache answers that rest on what tools said.
        output_cap: Tokens an answer may have; what 95 % of the answers have at most if
            not given.
        max_calls: How many calls are looked at, the newest ones; 10,000 with long
            prompts take some 15 seconds, and 500 MB.
        on_progress: Told how much is done, from 0 to 1, in place of the bar that a
            terminal or an open notebook shows after a second.

    Returns:
        What each lever saves by itself and in combination.

    Raises:
        ConfigurationError: If an option makes no sense.
        UnpricedModelError: If no price is known for `cheap`.

    Example:
        ```python
        print(what_if(TokenLedger("sqlite:///lean.db"), cheap="claude-haiku-4-5"))
        ```
    """
    options = Options(
        max_docs=max_docs,
        max_doc_tokens=max_doc_tokens,
        max_tokens=max_tokens,
        memory_tokens=memory_tokens,
        keep_tokens=keep_tokens,
        max_summary_tokens=max_summary_tokens,
        cheap=cheap,
        acceptance=acceptance,
        embeddings=embeddings,
        threshold=threshold,
        tenant_by=tenant_by,
        tool_calls=tool_calls,
        output_cap=output_cap,
        max_calls=max_calls,
    )
    # Apart from the caller's context, so that what is only tried is in no ledger.
    with progress_bar("Trying levers", on_progress) as told:
        return Context().run(_answered, ledger, options, told)


def _answered(ledger: TokenLedger, options: Options, told: OnProgress) -> WhatIf:
    if tracked():
        raise ConfigurationError(_LISTENING)
    ledger.flush()  # counts are those of all that was learned, whenever one asks
    with tracing_context(enabled=False), exact():
        trial = _Trial(ledger, options, told)
        tried = dict(trial.levers()) if trial.traffic.asking else {}
        changes = [each for each in tried.values() if isinstance(each, Change)]
        found, together = combined(changes, trial.traffic.calls)
        trial.told(1.0)
        costs = [call.entry.cost for call in trial.traffic.calls]
        return WhatIf(
            calls=len(trial.traffic.asking),
            older=trial.traffic.older,
            requests=sum(bool(each.asking) for each in trial.traffic.requests),
            tokens=sum(call.entry.usage.total for call in trial.traffic.calls),
            spent=sum((cost.total for cost in costs if cost is not None), ZERO),
            unpriced=costs.count(None),
            levers=tuple(map(_shown, found)),
            together=together,
            missing={n: why for n, why in tried.items() if isinstance(why, str)},
        )


def _shown(credit: Credit) -> Lever:
    change = credit.change
    return Lever(
        name=change.name,
        alone=credit.alone,
        added=credit.added,
        sure=change.sure,
        assumption=change.assumption,
        details=(
            *change.details,
            *([f"not worth it beside {credit.beside}"] if credit.beside else []),
        ),
    )


class _Trial:
    """Levers tried on what a ledger recorded, each named once."""

    def __init__(self, ledger: TokenLedger, options: Options, told: OnProgress) -> None:
        self._ledger, self._options = ledger, options
        self.told = told
        self.traffic = Traffic(ledger, options.max_calls)
        if options.cheap_model is not None:  # raises where it has no price
            self.traffic.prices.cost(TokenUsage(input=1), *options.cheap_model)
        self._questions = Questions(self.traffic)
        self._steps = len(self.traffic.requests) + len(self.traffic.asking)
        self._taken = 0

    def levers(self) -> Iterator[Tried]:
        """The levers, in the order in which they work."""
        yield from self._answers()
        yield models.CHEAP_FIRST, self._cheap_first()
        yield from self._documents()
        yield from self._texts()
        yield (
            models.OUTPUT_CAP,
            models.output_cap(self.traffic, self._options.output_cap),
        )
        yield prefix.PREFIX, prefix.cached(self.traffic)

    def _answers(self) -> Iterator[Tried]:
        options = self._options
        found = answers.hits(
            self.traffic,
            self._questions,
            embeddings=self._embeddings,
            threshold=options.threshold,
            tenant_by=options.tenant_by,
            tool_calls=options.tool_calls,
            told=self._step,
        )
        yield answers.EXACT, answers.same_words(found)
        if not self.traffic.has_text:
            yield answers.SEMANTIC, _NEEDS_TEXT
        elif self._embeddings is None:
            yield answers.SEMANTIC, _NO_EMBEDDINGS
        else:
            yield answers.SEMANTIC, answers.other_words(found)

    def _cheap_first(self) -> Change | str:
        cheap, acceptance = self._options.cheap_model, self._options.acceptance
        if cheap is None:
            return _NO_CHEAP
        if acceptance is not None:
            return models.cheap_first(self.traffic, cheap, acceptance)
        seen = models.seen_acceptance(self._ledger)
        if seen is None:
            return _NO_ACCEPTANCE
        share, looked_at = seen
        return models.cheap_first(self.traffic, cheap, share, looked_at=looked_at)

    def _documents(self) -> Iterator[Tried]:
        traffic, options = self.traffic, self._options
        standing = Standing(traffic)
        top_k = documents.top_k(traffic, standing, options.max_docs)
        retrieved = any(call.retrieved for call in traffic.asking)
        nothing = _NO_DOCUMENTS if retrieved else _NO_RETRIEVAL
        yield documents.TOP_K, top_k if top_k.most else nothing
        cut = documents.cut(
            traffic,
            self._questions,
            standing,
            max_docs=options.max_docs,
            max_doc_tokens=options.max_doc_tokens,
            max_tokens=options.max_tokens,
            embeddings=self._embeddings,
        )
        why = nothing if traffic.has_text or not top_k.most else _NEEDS_TEXT
        yield documents.CHUNK_SIZE, cut or why

    def _texts(self) -> Iterator[Tried]:
        if not self.traffic.has_text:
            for name in (history.SUMMARY, wording.SYSTEM, wording.TOOLS):
                yield name, _NEEDS_TEXT
            return
        options = self._options
        memories = history.Memories(
            self.traffic,
            options.cheap_model,
            max_tokens=options.memory_tokens,
            keep_tokens=options.keep_tokens,
            max_summary_tokens=options.max_summary_tokens,
        )
        short = history.summarized(self.traffic, self._questions, memories, self._step)
        yield history.SUMMARY, short
        yield wording.SYSTEM, wording.system_prompt(self.traffic)
        yield wording.TOOLS, wording.tool_schemas(self.traffic)

    @cached_property
    def _embeddings(self) -> Embeddings | None:
        """Those that were given, else those of the `local` extra, if it is there."""
        if self._options.embeddings is not None:
            return self._options.embeddings
        try:
            return local_embeddings()
        except ConfigurationError:
            return None

    def _step(self) -> None:
        self._taken += 1
        self.told(self._taken / (self._steps + 1))

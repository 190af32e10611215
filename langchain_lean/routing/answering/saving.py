"""What an answer of a cheaper model saved, for whichever ledger listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial, reduce
from itertools import count
from operator import add

from langchain_core.messages import SystemMessage

from langchain_lean.accounting.reporting import report_saving
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.routing.answering.costs import Answering
from langchain_lean.routing.answering.decision import Asking
from langchain_lean.routing.answering.ladder import Rung
from langchain_lean.routing.verdict import LEVER


def report_cheaper(
    asked: Asking,
    spent: Mapping[Answering, TokenUsage],
    strongest: Rung,
    counter: TokenCounter,
) -> None:
    """Report the strongest model's price for the tokens of a cheaper answer.

    Args:
        asked: How it was asked; what a policy added to the prompt is no saving.
        spent: What its calls used; nothing where it came from a cache.
        strongest: The model it is compared with.
        counter: Counts what was added.
    """
    if not spent:
        return
    baseline = f"{strongest.model_name or strongest.name} in as many tokens"
    text = asked.attempt.added
    added = counter.count([SystemMessage(text)]) if text else 0
    # A graph that is replayed from between two nodes reports the same again.
    ids = (f"{asked.trial}/{number}" for number in count())
    saved = partial(report_saving, LEVER, baseline=baseline)
    avoided = _less(reduce(add, spent.values()), added)
    instead = Answering(strongest.model_name, strongest.provider)
    for answering, usage in spent.items():
        if answering.provider == instead.provider and avoided.total:
            saved(
                id=next(ids),
                avoided=avoided,
                model=instead.model,
                provider=instead.provider,
                spent=usage,
                spent_model=answering.model,
            )
            avoided = TokenUsage()
        else:  # each has the prices of its own provider
            saved(
                id=next(ids),
                avoided=TokenUsage(),
                model=answering.model,
                provider=answering.provider,
                spent=usage,
            )
    if avoided.total:
        saved(
            id=next(ids),
            avoided=avoided,
            model=instead.model,
            provider=instead.provider,
        )


def _less(usage: TokenUsage, added: int) -> TokenUsage:
    """The usage without input tokens that a policy added, as far as they are plain."""
    kept = (
        usage.cache_read
        + usage.cache_write_5m
        + usage.cache_write_1h
        + usage.audio_input
        + usage.image_input
        + usage.video_input
    )
    return replace(usage, input=max(usage.input - added, min(kept, usage.input)))

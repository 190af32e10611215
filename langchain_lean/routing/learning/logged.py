"""Outcomes out of a ledger: calls whose answers somebody judged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.learning.outcomes import Outcome

if TYPE_CHECKING:
    from langchain_lean.accounting.entry import LedgerEntry
    from langchain_lean.accounting.ledger import TokenLedger

logger = logging.getLogger(__name__)


def logged_outcomes(ledger: TokenLedger, *, model: str) -> list[Outcome]:
    """The answers of a model that were judged, as a ledger kept them.

    A judgement of a call is about its answer. One of a whole chain or graph is about
    the last answer in it that no lever rejected or asked for itself; if that is another
    model's, it says nothing about this one.

    Args:
        ledger: A ledger with `keep_text=True`, to which `feedback` was given.
        model: The cheap model, as `LedgerEntry.model` or `requested` calls it.

    Returns:
        An outcome for each judged call, oldest first: the text of its last human
        message, and the answer's. Judged calls whose texts were not kept are left out;
        the log says how many.

    Raises:
        ConfigurationError: If there is none.
    """
    every = list(_judged(ledger))
    judged = [
        (entry, good)
        for entry, good in every
        if model in (entry.model, entry.requested)
    ]
    outcomes = [
        Outcome(question=question, answer=answer, good=good)
        for entry, good in judged
        if (question := _question(ledger, entry)) is not None
        and (answer := entry.answer and ledger.text(entry.answer.digest)) is not None
    ]
    if not outcomes:
        others = sorted({str(entry.model) for entry, _ in every})
        raise ConfigurationError(_none(model, bool(judged), others))
    if left_out := len(judged) - len(outcomes):
        logger.warning("%d judged answers have no text and are left out.", left_out)
    return outcomes


def _none(model: str, judged: bool, others: Sequence[str]) -> str:
    """What to say where there is no outcome: that the texts or the judgements lack."""
    if judged:
        return (
            f"The ledger kept no text of the judged answers of {model!r:.60}: record "
            "with TokenLedger(keep_text=True)."
        )
    if others:
        found = ", ".join(others)
        return f"No answer of {model!r:.60} was judged, but answers of {found:.200}."
    return (
        "No answer in the ledger was judged: judge with ledger.feedback(run_id, "
        "good=...), by the run_id of an entry or of the configuration of a call."
    )


def _judged(ledger: TokenLedger) -> Iterator[tuple[LedgerEntry, bool]]:
    """Calls that were judged, each with the judgement that is nearest to it."""
    feedbacks = ledger.feedbacks()
    entries = [entry for entry in ledger.entries() if entry.kind != "embedding"]
    last: dict[str, str] = {}
    for entry in entries:
        if _answers(entry):
            last.update(dict.fromkeys(_chains(entry), entry.run_id))
    for entry in entries:
        about = [run for run in _chains(entry) if last.get(run) == entry.run_id]
        for run in (entry.run_id, *about):
            if run in feedbacks:
                yield entry, feedbacks[run]
                break


def _chains(entry: LedgerEntry) -> list[str]:
    """The runs that a call is known to be part of, the nearest first."""
    return [run for run in (entry.parent_id, entry.trace_id) if run]


def _answers(entry: LedgerEntry) -> bool:
    """Whether the application got it as a whole answer."""
    broken = entry.failed or entry.blocked or entry.stopped_early or entry.abandoned
    return entry.source is None and not broken


def _question(ledger: TokenLedger, entry: LedgerEntry) -> str | None:
    for mark in reversed(entry.messages):
        if mark.role == "human":
            return ledger.text(mark.digest)
    return None

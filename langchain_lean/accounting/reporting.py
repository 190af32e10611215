"""The one way a lever says what it saved, and a guard what it refused."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import dispatch_custom_event

from langchain_lean.accounting.recording.events import BLOCKED_EVENT, SAVING_EVENT
from langchain_lean.accounting.recording.recorder import recorders
from langchain_lean.accounting.savings import Saving, SavingKind
from langchain_lean.accounting.tracking import tracked
from langchain_lean.accounting.usage import TokenUsage

logger = logging.getLogger(__name__)


def report_saving(
    lever: str,
    *,
    avoided: TokenUsage,
    model: str,
    provider: str | None = None,
    id: str | None = None,  # noqa: A002 - the word of the field
    spent: TokenUsage | None = None,
    spent_model: str | None = None,
    kind: SavingKind = "counterfactual",
    baseline: str | None = None,
    callbacks: Any = None,
) -> None:
    """Report what a lever saved to whichever ledger listens.

    Goes to the given callbacks, else through the running configuration as a custom
    event, else to the ledger of `track()`. Never raises: what cannot be reported is
    logged.

    Args:
        lever: The lever's name.
        avoided: The usage that was not needed.
        model: The model that usage would have been billed for.
        provider: Its provider.
        id: Reported again under the same id, a saving still counts once; a new one
            if not given.
        spent: What was used in its place by a call of the application.
        spent_model: The model `spent` was billed for; `model` if not given.
        kind: `exact` or `counterfactual`.
        baseline: What a counterfactual saving is compared with.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's.
    """
    try:
        saving = Saving(
            lever=lever,
            id=id or str(uuid4()),
            avoided=avoided,
            model=model,
            provider=provider,
            spent=spent or TokenUsage(),
            spent_model=spent_model,
            kind=kind,
            baseline=baseline,
        )
        _tell(SAVING_EVENT, asdict(saving), callbacks)
    except Exception as error:
        logger.warning("A saving could not be reported: %s", type(error).__name__)


def report_blocked(
    run_id: UUID,
    *,
    reason: str,
    model: str | None = None,
    provider: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    parent_run_id: UUID | None = None,
    callbacks: Any = None,
) -> None:
    """Report a call that was refused before it was made.

    It stands once in the ledger, as `blocked`, whether or not the ledger saw it
    start. Goes the way `report_saving` goes, and to every ledger that saw the call
    start; never raises.

    Args:
        run_id: The run that was refused.
        reason: Why, in a few words without anything a user wrote.
        model: The model that was asked.
        provider: Its provider.
        metadata: The metadata of the run.
        parent_run_id: The run it was called from.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's.
    """
    try:
        data = {
            "run_id": run_id,
            "reason": reason,
            "model": model,
            "provider": provider,
            "metadata": dict(metadata or {}),
            "parent_run_id": parent_run_id,
        }
        _tell(BLOCKED_EVENT, data, callbacks)
        for recorder in recorders():
            if recorder.under_way(run_id):
                recorder.on_custom_event(BLOCKED_EVENT, data, run_id=run_id)
    except Exception as error:
        logger.warning("A blocked call could not be reported: %s", type(error).__name__)


def _tell(event: str, data: Mapping[str, Any], callbacks: Any) -> None:
    if callbacks is None:
        try:
            dispatch_custom_event(event, data)
            return
        except RuntimeError:  # no run is active here
            callbacks = tracked()
    handlers = [callbacks] if isinstance(callbacks, BaseCallbackHandler) else callbacks
    for handler in getattr(handlers, "handlers", handlers):
        if not isinstance(handler, AsyncCallbackHandler):
            handler.on_custom_event(event, data, run_id=uuid4())

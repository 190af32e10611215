"""The one way to say what a lever saved, left out, rejected, or a guard refused."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import (
    adispatch_custom_event,
    dispatch_custom_event,
    handle_event,
)

from langchain_lean.accounting.attribution import running_parent
from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.recording.events import (
    BLOCKED_EVENT,
    MISSED_EVENT,
    NO_RUN,
    NOTICE_EVENT,
    REJECTED_EVENT,
    SAVING_EVENT,
)
from langchain_lean.accounting.recording.recorder import recorders
from langchain_lean.accounting.savings import Saving, SavingKind
from langchain_lean.accounting.tracking import parts, tracked
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
    seconds: float = 0.0,
    callbacks: Any = None,
) -> None:
    """Report what a lever saved to whichever ledger listens.

    Goes to the given callbacks, else through the running configuration as a custom
    event, and to the ledger of `track()` where there is no other. Never raises: what
    cannot be reported is logged.

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
        seconds: How long the avoided call would have taken.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's.
    """
    with _logged("A saving"):
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
            seconds=seconds,
        )
        _tell(SAVING_EVENT, asdict(saving), callbacks)


async def areport_saving(lever: str, **saving: Any) -> None:
    """`report_saving` for asyncio, to the running configuration's callbacks.

    Args:
        lever: The lever's name.
        saving: What `report_saving` takes, but for `callbacks`.
    """
    with _logged("A saving"):
        given = {"id": str(uuid4()), **saving}
        await _atell(SAVING_EVENT, asdict(Saving(lever=lever, **given)))


def report_notice(
    lever: str, *, action: str, reason: str, callbacks: Any = None
) -> None:
    """Report what a lever did, or could not do, that an answer may be worse for.

    Goes the way `report_saving` goes; never raises.

    Args:
        lever: The lever's name.
        action: What it did, in a word or two, such as `skipped`.
        reason: Why, in a few words without anything a user wrote.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's. A retriever needs to give its `run_manager`: by itself it
            has no running configuration.

    Example:
        ```python
        report_notice(
            "retriever",
            action="skipped",
            reason="a retriever failed: TimeoutError",
            callbacks=run_manager,
        )
        ```
    """
    with _logged("A notice"):
        notice = Notice(lever=lever, action=action, reason=reason, id=str(uuid4()))
        _tell(NOTICE_EVENT, asdict(notice), callbacks)


def report_missed(lever: str, *, callbacks: Any = None) -> None:
    """Report that a lever could save nothing, so that its hit rate is known.

    Goes the way `report_saving` goes; never raises.

    Args:
        lever: The lever's name.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's.
    """
    with _logged("A miss"):
        _tell(MISSED_EVENT, {"lever": lever, "id": str(uuid4())}, callbacks)


async def areport_missed(lever: str) -> None:
    """`report_missed` for asyncio, to the running configuration's callbacks."""
    with _logged("A miss"):
        await _atell(MISSED_EVENT, {"lever": lever, "id": str(uuid4())})


def report_rejected(trial: str, *, source: str, callbacks: Any = None) -> None:
    """Report that an answer was not good enough and is shown to nobody.

    Its calls then stand in the ledger as made on the lever's own behalf, so that their
    cost is subtracted from what it saved. Goes the way `report_saving` goes; never
    raises.

    Args:
        trial: What the calls have in their metadata under
            `langchain_lean.accounting.recording.events.TRIAL`. A ledger remembers the
            newest 1,000 of these.
        source: The lever's name, which becomes the `source` of the calls.
        callbacks: A callback manager or handlers to tell, instead of the running
            configuration's.
    """
    with _logged("A rejected answer"):
        _tell(REJECTED_EVENT, {"trial": trial, "source": source}, callbacks)


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
    with _logged("A blocked call"):
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


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """What cannot be reported is logged; the application goes on."""
    try:
        yield
    except Exception as error:
        logger.warning("%s could not be reported: %s", what, type(error).__name__)


def _tell(event: str, data: Mapping[str, Any], callbacks: Any) -> None:
    if callbacks is None:
        try:
            dispatch_custom_event(event, data)
            return
        except RuntimeError:  # no run is active here
            callbacks = ()
    handlers = [
        handler
        for handler in _listening(callbacks)
        if not isinstance(handler, AsyncCallbackHandler)
    ]
    run_id = _run_of(callbacks) or running_parent() or NO_RUN
    handle_event(
        handlers, "on_custom_event", "ignore_custom_event", event, data, run_id=run_id
    )


async def _atell(event: str, data: Mapping[str, Any]) -> None:
    try:
        await adispatch_custom_event(event, data)
    except RuntimeError:  # no run is active here
        _tell(event, data, ())


def _listening(callbacks: Any) -> list[BaseCallbackHandler]:
    """The handlers that were given; those of `track()` where no ledger is among them.

    A manager made inside of `track()` has its ledger among its handlers.
    """
    given = [callbacks] if isinstance(callbacks, BaseCallbackHandler) else callbacks
    handlers = [
        part for handler in getattr(given, "handlers", given) for part in parts(handler)
    ]
    if any(isinstance(handler, TokenLedger) for handler in handlers):
        return handlers
    return [*handlers, *tracked()]


def _run_of(callbacks: Any) -> UUID | None:
    """The run of a run's manager, or of the manager it gives to its children."""
    for name in ("run_id", "parent_run_id"):
        if isinstance(run_id := getattr(callbacks, name, None), UUID):
            return run_id
    return None

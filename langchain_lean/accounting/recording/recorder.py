"""What LangChain tells a handler, joined to what has ended."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from langchain_lean.accounting.attribution import attributed
from langchain_lean.accounting.recording.careful import (
    CarefulHandler,
    never_raises,
)
from langchain_lean.accounting.recording.events import (
    BLOCKED_EVENT,
    MISSED_EVENT,
    NO_RUN,
    NOTICE_EVENT,
    REJECTED_EVENT,
    SAVING_EVENT,
    Call,
    Outcome,
    Rejected,
    model_asked,
)
from langchain_lean.accounting.recording.traces import Traces
from langchain_lean.accounting.recording.wrappers import drop, enter, leave

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from langchain_core.documents import Document
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import LLMResult

    from langchain_lean.accounting.recording.events import Event, Kind, StepKind

logger = logging.getLogger(__name__)

_REMEMBERED_BLOCKS = 10_000
_REMEMBERED_BATCHES = 1_000
_REMEMBERED_ABANDONED = 1_000


_recorders: WeakSet[Recorder] = WeakSet()
_registering = threading.RLock()  # the garbage collector may come in between


def recorders() -> list[Recorder]:
    """The recorders of this process that have seen a call begin."""
    with _registering:
        return list(_recorders)


class Recorder(CarefulHandler):
    """Joins starts with ends and hands on what has ended.

    Runs inline, before other handlers, on whichever thread the call is made. It does
    no counting, pricing or writing: `_received` says what becomes of an event.

    Args:
        abandon_after: Seconds after which a call that has not ended is abandoned.
        clock: Seconds since the epoch.
        timer: Seconds that only go forward.
    """

    run_inline = True

    def __init__(
        self,
        *,
        abandon_after: float,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        super().__init__()
        self.abandon_after = abandon_after
        self.clock = clock
        self.timer = timer
        self._calls: dict[UUID, Call] = {}
        self._abandoned: dict[UUID, None] = {}
        self._blocked: dict[UUID, None] = {}
        self._traces = Traces(clock=clock, timer=timer)
        self._batches: dict[int, tuple[object, list[bool]]] = {}
        self._registered = False

    def under_way(self, run_id: UUID) -> bool:
        """Whether it saw a call begin that has not ended."""
        return run_id in self._calls

    def _received(self, event: Event) -> None:
        """Take what has ended; for the ledger to say what becomes of it."""
        raise NotImplementedError

    def _passed_on(self, call: Call) -> None:
        """A model that only handed on another one's answer has ended; not counted."""

    def _trace_id(self, run_id: UUID, parent_run_id: UUID | None) -> str:
        """The outermost run that a run belongs to."""
        return self._traces.of(run_id, parent_run_id).id

    def _abandoned_calls(self, *, closing: bool = False) -> list[Event]:
        """The calls that have turned out to be abandoned since this was last asked.

        A cancelled call sends no event, so this is decided when it is asked: the run
        or the asyncio task it belongs to has ended, a call of the same batch has
        failed, or `abandon_after` seconds have passed. Should such a call end after
        all, its outcome comes later.

        Args:
            closing: Take every call under way for abandoned: nobody will ask again.
        """
        now = self.timer()
        found: list[Event] = []
        for run_id, call in self._calls.copy().items():
            if run_id in self._abandoned:
                continue
            seconds = now - call.started
            if closing or call.left or seconds > self.abandon_after:
                self._abandoned[run_id] = None
                found.append(Outcome(call=call, seconds=seconds, abandoned=True))
        while len(self._abandoned) > _REMEMBERED_ABANDONED:
            oldest = next(iter(self._abandoned))
            self._abandoned.pop(oldest)
            self._calls.pop(oldest, None)
        return found

    def _forget_calls(self) -> None:
        """Drop the calls under way: in a forked process they are the parent's."""
        self._calls.clear()
        self._traces.forget()

    @never_raises
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a chat model is asked."""
        prompt = messages[0] if messages else []
        self._begin("chat", prompt, run_id, parent_run_id, tags, metadata, kwargs)

    @never_raises
    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a plain language model is asked."""
        prompt = prompts[0] if prompts else ""
        self._begin("completion", prompt, run_id, parent_run_id, tags, metadata, kwargs)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note when the first token came."""
        call = self._calls.get(run_id)
        if call is not None and call.first_token is None:
            call.first_token = self.timer()

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note when the first event of a stream came."""
        self.on_llm_new_token(event, run_id=run_id)

    @never_raises
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Note an answer."""
        call = self._calls.pop(run_id, None)
        if call is not None:
            self._end(call, response)

    @never_raises
    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note what broke a call off, and what had come by then."""
        call = self._calls.pop(run_id, None)
        if call is None:
            return
        if call.batch is not None:
            call.batch.append(True)
        self._end(call, kwargs.get("response"), error)

    @never_raises
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a chain or graph node."""
        kind: StepKind | None = "run" if parent_run_id is None else None
        self._enter(kind, run_id, parent_run_id, serialized, kwargs)

    @never_raises
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a tool."""
        self._enter("tool", run_id, parent_run_id, serialized, kwargs)

    @never_raises
    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a retriever."""
        self._enter("retriever", run_id, parent_run_id, serialized, kwargs)

    @never_raises
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that a chain has ended."""
        self._leave(run_id)

    @never_raises
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that a tool has ended."""
        self._leave(run_id)

    @never_raises
    def on_retriever_end(
        self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note what a retriever returned."""
        found = documents if isinstance(documents, (list, tuple)) else ()
        texts = (getattr(document, "page_content", None) for document in found)
        kept = tuple(text for text in texts if isinstance(text, str))
        self._leave(run_id, documents=kept)

    @never_raises
    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note that a chain has failed."""
        self._leave(run_id, failed=True)

    @never_raises
    def on_tool_error(
        self, error: BaseException, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note that a tool has failed."""
        self._leave(run_id, failed=True)

    @never_raises
    def on_retriever_error(
        self, error: BaseException, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note that a retriever has failed."""
        self._leave(run_id, failed=True)

    @never_raises
    def on_custom_event(
        self, name: str, data: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note a saving, a miss, a notice, a rejected answer or a refused call."""
        if name == SAVING_EVENT:
            from langchain_lean.accounting.savings import Saving

            self._received(Saving.from_event(data))
        elif name == MISSED_EVENT:
            from langchain_lean.accounting.savings import Missed

            self._received(Missed(**data))
        elif name == NOTICE_EVENT:
            from langchain_lean.accounting.notices import Notice

            where = None if run_id == NO_RUN else str(run_id)
            self._received(Notice.from_event(data, run_id=where))
        elif name == REJECTED_EVENT:
            self._received(Rejected(**data))
        elif name == BLOCKED_EVENT:
            self._block(data)

    def _begin(
        self,
        kind: Kind,
        prompt: Sequence[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
        given: Mapping[str, Any],
    ) -> None:
        if run_id in self._calls or run_id in self._blocked:
            return  # the handler was given twice, or a guard was faster
        call = self._call(kind, prompt, run_id, parent_run_id, metadata or {})
        call.tags = tags or ()
        options = given.get("invocation_params")
        if isinstance(options, Mapping):
            call.options = options
            call.tools = options.get("tools") or ()
            call.model = model_asked(options, metadata or {})
        size = given.get("batch_size")
        if isinstance(size, int) and size > 1:
            call.batch = self._batch_of(call.options)
        else:
            call.nest = enter(self)
        self._calls[run_id] = call
        if not self._registered:
            with _registering:
                _recorders.add(self)
            self._registered = True

    def _end(
        self,
        call: Call,
        result: LLMResult | None,
        error: BaseException | None = None,
    ) -> None:
        message = _first_message(result)
        if call.nest is not None and leave(call.nest, message):
            self._passed_on(call)
            return
        self._received(
            Outcome(
                call=call,
                seconds=self.timer() - call.started,
                result=result,
                message=message,
                error=error,
            )
        )

    def _call(
        self,
        kind: Kind,
        prompt: Sequence[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any],
    ) -> Call:
        return Call(
            run_id=str(run_id),
            parent_id=None if parent_run_id is None else str(parent_run_id),
            trace=self._traces.of(run_id, parent_run_id),
            kind=kind,
            prompt=prompt,
            tools=(),
            metadata=metadata,
            tags=(),
            model=model_asked({}, metadata),
            user_id=attributed("user_id", metadata),
            thread_id=attributed("thread_id", metadata),
            start=self.clock(),
            started=self.timer(),
            task=_current_task(),
        )

    def _batch_of(self, options: object) -> list[bool]:
        """The list that the runs of one `generate` call share.

        They are told on several threads, but with one and the same object of options.
        """
        known = self._batches.get(id(options))
        if known is None:
            known = self._batches.setdefault(id(options), (options, []))
            if len(self._batches) > _REMEMBERED_BATCHES:
                # Other threads may be at the same.
                with suppress(StopIteration, RuntimeError):
                    self._batches.pop(next(iter(self._batches)), None)
        return known[1]

    def _enter(
        self,
        kind: StepKind | None,
        run_id: UUID,
        parent_run_id: UUID | None,
        serialized: Mapping[str, Any] | None,
        given: Mapping[str, Any],
    ) -> None:
        name = given.get("name") or (serialized or {}).get("name")
        self._traces.enter(kind, run_id, parent_run_id, name)

    def _leave(
        self, run_id: UUID, *, failed: bool = False, documents: tuple[str, ...] = ()
    ) -> None:
        finished = self._traces.leave(run_id, failed=failed, documents=documents)
        if finished is not None:
            self._received(finished)

    def _block(self, data: Mapping[str, Any]) -> None:
        run_id = data["run_id"]
        if run_id in self._blocked:
            return
        self._blocked[run_id] = None
        if len(self._blocked) > _REMEMBERED_BLOCKS:
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._blocked.pop(next(iter(self._blocked)), None)
        call = self._calls.pop(run_id, None)
        if call is None:
            metadata = {"ls_provider": data["provider"], **data["metadata"]}
            call = self._call("chat", [], run_id, data["parent_run_id"], metadata)
            call.model = data["model"] or call.model
        if call.nest is not None:
            drop(call.nest)
        self._received(Outcome(call=call, seconds=0.0, blocked=str(data["reason"])))


def _current_task() -> ref[Any] | None:
    """The asyncio task that is running, if any; without an error to catch if none."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    task = asyncio.current_task()
    return None if task is None else ref(task)


def _first_message(result: LLMResult | None) -> AIMessage | None:
    """The first choice of a chat model's answer."""
    generations = getattr(result, "generations", None)
    if not generations or not generations[0]:
        return None
    message = getattr(generations[0][0], "message", None)
    return message if hasattr(message, "usage_metadata") else None

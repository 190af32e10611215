"""What a recorder takes down: calls and steps under way, and how they ended.

Light on purpose: importing the ledger must not load LangChain's messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import LLMResult

    from langchain_lean.accounting.notices import Notice
    from langchain_lean.accounting.recording.wrappers import Nest
    from langchain_lean.accounting.savings import Missed, Saving

Kind = Literal["chat", "completion", "embedding"]
StepKind = Literal["run", "retriever", "tool"]

SAVING_EVENT = "langchain_lean.saving"
MISSED_EVENT = "langchain_lean.missed"
NOTICE_EVENT = "langchain_lean.notice"
BLOCKED_EVENT = "langchain_lean.blocked"
REJECTED_EVENT = "langchain_lean.rejected"

TRIAL = "lean_trial"
"""The key in a call's metadata that says its answer may yet be rejected, and names it
for `report_rejected`."""

NO_RUN = UUID(int=0)
"""Stands for the run of an event that is told where none is known."""

_CLOSED_BY_CALLER = ("GeneratorExit", "CancelledError")


def model_asked(options: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    """The model a call asks for, as its class says it.

    Args:
        options: The parameters the call is sent with.
        metadata: Its metadata.
    """
    names = (
        metadata.get("ls_model_name"),
        options.get("model"),
        options.get("model_name"),
    )
    return next((name for name in names if isinstance(name, str) and name), None)


@dataclass(slots=True)
class Retrieved:
    """What the retrievers of a trace returned.

    Attributes:
        documents: The texts of the newest 128.
        seen: How many there were so far.
        found: By digest of a text and what was seen by then, how many of its characters
            are documents.
    """

    documents: deque[str] = field(default_factory=lambda: deque(maxlen=128))
    seen: int = 0
    found: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, documents: Iterable[str]) -> None:
        """Take what a retriever returned."""
        for text in documents:
            if text not in self.documents:
                self.documents.append(text)
                self.seen += 1


@dataclass(slots=True, kw_only=True)
class Trace:
    """One outermost run.

    Attributes:
        id: The id of the outermost run, as text.
        ended: It has ended.
        retrieved: What its retrievers returned, shared by its calls; None for nothing.
    """

    id: str
    ended: bool = False
    retrieved: Retrieved | None = None

    def add(self, documents: Iterable[str]) -> None:
        """Take what a retriever returned."""
        if self.retrieved is None:
            self.retrieved = Retrieved()
        self.retrieved.add(documents)


@dataclass(slots=True, kw_only=True)
class Call:
    """A call under way.

    Attributes:
        run_id: LangChain's id of the run, as text.
        parent_id: The run it was called from.
        trace: The outermost run it belongs to.
        kind: `chat` or `completion`.
        prompt: The messages; for a plain language model its prompt as a text.
        tools: Schemas of the tools it was given.
        options: The parameters it is sent with.
        metadata: What LangChain passes on.
        tags: The run's tags.
        model: The model that is asked.
        user_id: Whom it is made for.
        thread_id: The conversation.
        start: Seconds since the epoch.
        started: The same moment on the timer.
        first_token: When the first token came, on the timer.
        task: The asyncio task it is made in, if any.
        nest: What it is made inside of; None for one of several in a `generate` call.
        batch: The runs of one `generate` call share this list, into which a failure is
            put; None for a call of its own.
    """

    run_id: str
    parent_id: str | None
    trace: Trace
    kind: Kind
    prompt: Sequence[BaseMessage] | str
    tools: Sequence[Any]
    metadata: Mapping[str, Any]
    tags: Sequence[str]
    model: str | None
    user_id: str | None
    thread_id: str | None
    start: float
    started: float
    first_token: float | None = None
    task: ref[Any] | None = None
    nest: Nest | None = None
    batch: list[bool] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> bool:
        """Whether nobody is there any more for it to end for."""
        if self.batch:
            return True
        if self.task is not None and self.first_token is None:
            task = self.task()  # a stream may be read by others than began it
            return task is None or task.done()
        return self.trace.ended and self.trace.id != self.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended.

    Attributes:
        call: The call.
        seconds: How long it took.
        result: What came back, whole or in part.
        message: Its first message as it was then: a later hit of LangChain's cache
            exchanges it in the result.
        error: What broke it off.
        blocked: Why it was refused before it was made.
        abandoned: It never ended.
    """

    call: Call
    seconds: float
    result: LLMResult | None = None
    message: AIMessage | None = None
    error: BaseException | None = None
    blocked: str | None = None
    abandoned: bool = False

    @property
    def stopped_early(self) -> bool:
        """The caller closed the stream."""
        return type(self.error).__name__ in _CLOSED_BY_CALLER

    @property
    def reason(self) -> str | None:
        """Why it did not end as it should, without anything a user wrote."""
        if self.blocked is not None:
            return self.blocked
        return None if self.error is None else type(self.error).__name__


@dataclass(slots=True)
class Run:
    """A chain, tool or retriever under way.

    Attributes:
        trace: The outermost run it belongs to.
        kind: What kind of step it is; None for inner chains, which are not kept.
        name: What it is called.
        start: Seconds since the epoch.
        started: The same moment on the timer.
    """

    trace: Trace
    kind: StepKind | None
    name: str
    start: float
    started: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that has ended.

    Attributes:
        run_id: LangChain's id of the run, as text.
        run: What had begun.
        seconds: How long it took.
        failed: It ended with an error.
        documents: The texts a retriever returned.
    """

    run_id: str
    run: Run
    seconds: float
    failed: bool
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer on trial was rejected: its calls were made on the lever's own behalf.

    Attributes:
        trial: What its calls have in their metadata under `TRIAL`.
        source: The lever that rejected it.
    """

    trial: str
    source: str


Event: TypeAlias = "Outcome | Finished | Saving | Missed | Notice | Rejected"
"""What a recorder hands on."""

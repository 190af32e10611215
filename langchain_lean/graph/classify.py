"""One cheap call that says what a question needs."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from langchain_lean.accounting.reporting import report_notice
from langchain_lean.budgets.errors import BudgetExceededError
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph.state import Need, Way
from langchain_lean.messages import last_human_index, last_human_text, message_text
from langchain_lean.models import own_call
from langchain_lean.node import Node
from langchain_lean.steps import adrive, drive

SOURCE = "classify"
"""Whose calls these are in a ledger."""

Faq = Mapping[str, str] | BaseRetriever
"""Set answers by their question, or a retriever of them."""

_CANDIDATES = 5  # of a retriever's set answers
_EARLIER = 2  # messages before the question, for one that leans on them
_MOST = 500  # characters of each
_MOST_ASKED = 4_000

_TASK = """\
Say what is needed to answer the last message of a conversation. Do not answer it.
- route: {routes}.
- needs_rag: whether facts from the documents are needed.
- needs_tools: whether a tool has to be called.{faq}"""

_ROUTES = {
    "faq": '"faq" if one of the set answers below answers it fully',
    "rag": '"rag" if it takes facts from the documents and no tool',
    "agent": '"agent" for all else',
}
_FAQ = "\n- faq: the number of the set answer, else 0."


class Classification(BaseModel):
    """What the last message needs."""

    route: Literal["faq", "rag", "agent"]
    needs_rag: bool = False
    needs_tools: bool = False
    faq: int | None = 0


@dataclass(frozen=True, slots=True)
class SetAnswer:
    """An answer that somebody wrote.

    Attributes:
        question: What it answers.
        answer: The answer.
    """

    question: str
    answer: str


class Classifier:
    """Says what a question needs, as a node of a graph.

    Args:
        model: The cheap model.
        faq: Set answers.
        documents: Whether there are documents.
        tools: The tools: their names and what they are for.
    """

    def __init__(
        self,
        model: Any,
        *,
        faq: Faq | None,
        documents: bool,
        tools: Sequence[tuple[str, str]],
    ) -> None:
        self._model: Runnable[Any, Any] = model.with_structured_output(Classification)
        self._faq = faq if isinstance(faq, BaseRetriever) else None
        self._written: list[SetAnswer] = []
        if faq is not None and not isinstance(faq, BaseRetriever):
            self._written = [SetAnswer(*pair) for pair in faq.items()]
        self._ways: list[Way] = ["agent"]
        self._ways += ["rag"] if documents else []
        self._ways += ["faq"] if faq is not None else []
        self._tools = tuple(tools)
        self.node: Runnable[Any, dict[str, Need]] = Node(
            self._classify, self._aclassify, name=SOURCE
        )

    def _classify(
        self, state: Mapping[str, Any], config: RunnableConfig
    ) -> dict[str, Need]:
        own = own_call(config, SOURCE)
        return drive(self._need(state), lambda asked: asked[0].invoke(asked[1], own))

    async def _aclassify(
        self, state: Mapping[str, Any], config: RunnableConfig
    ) -> dict[str, Need]:
        own = own_call(config, SOURCE)
        return await adrive(
            self._need(state), lambda asked: asked[0].ainvoke(asked[1], own)
        )

    def _need(
        self, state: Mapping[str, Any]
    ) -> Generator[tuple[Runnable[Any, Any], Any], Any, dict[str, Need]]:
        """What the newest question needs; yields whom to ask what."""
        messages = state["messages"]
        question = last_human_text(messages)
        for known in self._written:
            if _words(known.question) == _words(question):
                return {"need": _set(known, "it is a set question, word by word")}
        answers = self._written
        try:
            if self._faq is not None:
                found = yield self._faq, question
                answers = [_set_answer(document) for document in found[:_CANDIDATES]]
            said = yield self._model, self._prompt(messages, answers)
        except Exception as error:
            return {"need": self._unknown(error)}
        return {"need": self._read(said, answers)}

    def _prompt(
        self, messages: Sequence[BaseMessage], answers: Sequence[SetAnswer]
    ) -> list[BaseMessage]:
        routes = ", ".join(_ROUTES[way] for way in reversed(self._ways))
        lines = [_TASK.format(routes=routes, faq=_FAQ if "faq" in self._ways else "")]
        if self._tools:
            lines += ["", "Tools:", *(f"- {n}: {_short(d)}" for n, d in self._tools)]
        if answers:
            numbered = enumerate((a.question for a in answers), 1)
            lines += ["", "Set answers:", *(f"{i}. {_short(q)}" for i, q in numbered)]
        asked = last_human_index(messages)
        earlier = messages[max(asked - _EARLIER, 0) : asked]
        said = [f"{m.type}: {_short(message_text(m))}" for m in earlier]
        last = _short(message_text(messages[asked]), _MOST_ASKED)
        return [
            SystemMessage("\n".join(lines)),
            HumanMessage("\n".join([*said, f"human: {last}"])),
        ]

    def _read(self, said: Any, answers: Sequence[SetAnswer]) -> Need:
        """What was said, as far as it can be done."""
        if not isinstance(said, Classification):
            return self._unknown(None)
        number = said.faq or 0
        if said.route == "faq" and 0 < number <= len(answers):
            return _set(answers[number - 1], "the cheap model found a set answer")
        tools = bool(self._tools) and said.needs_tools
        documents = "rag" in self._ways and (said.needs_rag or said.route != "agent")
        return Need(
            route="rag" if documents and not tools else "agent",
            needs_rag=documents,
            needs_tools=tools,
            answer=None,
            reason="the cheap model decided",
        )

    def _unknown(self, error: Exception | None) -> Need:
        """What to do where nobody can say what is needed: all that there is.

        Raises:
            Exception: The error, where it is a refusal, or one of setting up.
        """
        over_budget = isinstance(error, BudgetExceededError)  # who drafts meets it, too
        if isinstance(error, ConfigurationError | GraphBubbleUp) and not over_budget:
            raise error
        kind = "no decision" if error is None else type(error).__name__
        report_notice(SOURCE, action="failed", reason=kind)
        documents = "rag" in self._ways
        return Need(
            route="agent" if self._tools or not documents else "rag",
            needs_rag=documents,
            needs_tools=bool(self._tools),
            answer=None,
            reason=f"the cheap model could not say: {kind}",
        )


def _set(known: SetAnswer, reason: str) -> Need:
    return Need(
        route="faq",
        needs_rag=False,
        needs_tools=False,
        answer=known.answer,
        reason=reason,
    )


def _set_answer(document: Document) -> SetAnswer:
    """A document's set answer: in its metadata, or the whole text."""
    text = document.page_content
    return SetAnswer(text, str(document.metadata.get("answer") or text))


def _words(text: str) -> str:
    """A question without what does not change it: white space, case, its mark."""
    return " ".join(text.casefold().split()).rstrip("?!. ")


def _short(text: str, most: int = _MOST) -> str:
    """A text on one line; of a long one its beginning and its end."""
    text = " ".join(text.split())
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"

"""What prompts would have had with fewer documents, and with cut ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.whatif.costs import Change, Kept, Left, State

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_lean.whatif.questions import Questions
    from langchain_lean.whatif.traffic import Call, Traffic

_SAMPLED = 100  # prompts; one with 20 long documents takes some 15 ms, twice

TOP_K, CHUNK_SIZE = "top-k", "chunk size"


def with_documents(traffic: Traffic) -> list[Call]:
    """The calls of the application in whose prompt documents stand."""
    return [
        call
        for call in traffic.asking
        if call.entry.anatomy.retrieved and call.retrieved
    ]


def top_k(traffic: Traffic, questions: Questions, max_docs: int) -> Kept:
    """Send the first documents of each retrieval, whole.

    Args:
        traffic: What was recorded.
        questions: Tells which documents stand in a prompt, where texts were kept.
        max_docs: How many of each retrieval.
    """
    most = {}
    for call in with_documents(traffic):
        there = set(questions.standing(call)) if traffic.has_texts_of(call) else None
        found = [
            (place, mark)
            for each in call.retrieved
            for place, mark in enumerate(each)
            if there is None or traffic.text(mark.digest) in there
        ]
        sizes = {mark.digest: mark.length for _, mark in found}
        kept = {mark.digest: mark.length for at, mark in found if at < max_docs}
        if sizes:
            share = sum(kept.values()) / sum(sizes.values())
            most[call] = round(call.entry.anatomy.retrieved * share)
    return Kept(
        name=TOP_K,
        part="retrieved",
        most=most,
        sure="exact",
        assumption=f"Answers need none of the documents behind the first {max_docs} of "
        "a retrieval.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut(Change):
    """Cuts documents down to the sentences nearest to the question.

    Attributes:
        most: By call, the most tokens of its documents.
        most_of_few: The same where only the first few were sent.
    """

    most: dict[Call, int]
    most_of_few: dict[Call, int]

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        found = {}
        for call, most in self.most.items():
            left = state[call]
            few = left.retrieved < call.entry.anatomy.retrieved
            tokens = min(left.retrieved, self.most_of_few[call] if few else most)
            if left.made and tokens < left.retrieved:
                found[call] = left._replace(retrieved=tokens)
        return found


class Sizes(NamedTuple):
    """Tokens of documents: whole, all of them cut, and only the first few cut."""

    whole: int = 0
    of_all: int = 0
    of_few: int = 0


class Recorded(BaseRetriever):
    """Finds what was found before.

    Attributes:
        found: That.
    """

    found: Sequence[str] = ()

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return [Document(text) for text in self.found]


def cut(
    traffic: Traffic,
    questions: Questions,
    *,
    max_docs: int,
    max_doc_tokens: int,
    max_tokens: int,
    embeddings: Embeddings | None,
) -> Cut | None:
    """Have a `BudgetRetriever` cut the documents that were recorded.

    Args:
        traffic: What was recorded.
        questions: What was asked, and which documents stand in the prompts.
        max_docs: How many documents are left where few are sent.
        max_doc_tokens: As `BudgetRetriever` takes it.
        max_tokens: The same.
        embeddings: The same.

    Returns:
        The lever; None where no prompt has documents whose texts were kept.
    """
    calls = [c for c in with_documents(traffic) if questions.of(c)]
    sampled = calls[:: -(-len(calls) // _SAMPLED) or 1]
    budget = BudgetRetriever(
        retriever=Recorded(),
        max_docs=max_docs,
        max_doc_tokens=max_doc_tokens,
        max_tokens=max_tokens,
        embeddings=embeddings,
        counter=traffic.counter,
    )
    sizes = {call: _sizes(traffic, questions, call, budget) for call in sampled}
    usual = Sizes(*map(sum, zip(*sizes.values(), strict=True))) if sizes else Sizes()
    if not usual.whole:
        return None
    of_calls = {
        c: found if (found := sizes.get(c)) and found.whole else usual for c in calls
    }
    return Cut(
        name=CHUNK_SIZE,
        most={c: _left(c, each.of_all, each.whole) for c, each in of_calls.items()},
        most_of_few={
            c: _left(c, each.of_few, each.whole) for c, each in of_calls.items()
        },
        sure="simulated",
        assumption=f"Answers need no more than the nearest sentences of each document, "
        f"{max_doc_tokens:,} tokens of one and {max_tokens:,} of all at most.",
        details=(f"seen on {len(sampled):,} of {len(calls):,} prompts with documents",),
    )


def _sizes(
    traffic: Traffic, questions: Questions, call: Call, budget: BudgetRetriever
) -> Sizes:
    """Have a retriever cut the documents of a call."""
    documents = questions.standing(call)
    sent = []
    for limit in (max(len(documents), 1), budget.max_docs):
        recorded = budget.model_copy(
            update={"retriever": Recorded(found=documents[:limit])}
        )
        kept = recorded.invoke(questions.of(call) or "", max_docs=limit)
        sent.append(sum(traffic.count(each.page_content, call) for each in kept))
    return Sizes(sum(traffic.count(text, call) for text in documents), *sent)


def _left(call: Call, kept: int, whole: int) -> int:
    return round(call.entry.anatomy.retrieved * kept / whole)

"""What prompts would have had with fewer documents, and with cut ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from langchain_lean.accounting.report.words import many
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.whatif.costs import Change, Kept, Left, Most, State, at_most

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_lean.whatif.questions import Questions
    from langchain_lean.whatif.standing import Document as Found
    from langchain_lean.whatif.standing import Standing
    from langchain_lean.whatif.traffic import Call, Traffic

_SAMPLED = 100  # prompts; one with 20 long documents takes some 15 ms, twice

TOP_K, CHUNK_SIZE = "top-k", "chunk size"


def top_k(traffic: Traffic, standing: Standing, max_docs: int) -> Kept:
    """Send the first documents of each retrieval, whole.

    Args:
        traffic: What was recorded.
        standing: The documents that stand in its prompts, where texts were kept.
        max_docs: How many of each retrieval.
    """

    def share(document: Found) -> float:
        return float(document.place < max_docs)

    assumption = f"Answers need only the first {max_docs} documents of a retrieval"
    found = {
        call: standing.most(call, share)
        if traffic.has_texts_of(call)
        else _by_length(call, max_docs)
        for call in traffic.asking
    }
    if not traffic.has_text:
        assumption += ", and these are in the prompts of its own request alone"
    return Kept(
        name=TOP_K,
        most={call: most for call, most in found.items() if most},
        sure="exact" if traffic.has_text else "assumed",
        assumption=f"{assumption}.",
        details=_not_found(traffic, found),
    )


def _by_length(call: Call, max_docs: int) -> Most:
    """What is left of the documents of a call, all of which are taken to be there."""
    found = [pair for each in call.retrieved for pair in enumerate(each)]
    sizes = {mark.digest: mark.length for _, mark in found}
    kept = {mark.digest: mark.length for place, mark in found if place < max_docs}
    retrieved, whole = call.entry.anatomy.retrieved, sum(sizes.values())
    if not (retrieved and whole):
        return {}
    return {"retrieved": round(retrieved * sum(kept.values()) / whole)}


def _not_found(traffic: Traffic, found: Mapping[Call, Most]) -> tuple[str, ...]:
    """In how many requests documents are not found, where they are in others."""
    retrieving = [r for r in traffic.requests if any(c.retrieved for c in r.asking)]
    missed = sum(not any(found[c] for c in r.asking) for r in retrieving)
    if not missed:
        return ()
    return (
        f"in {missed:,} of {many(len(retrieving), 'request')} with a retrieval no "
        "document is found word for word",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut(Change):
    """Cuts documents down to the sentences nearest to the question.

    Attributes:
        most: By call, the most tokens of its documents.
        most_of_few: The same where only the first few were sent.
    """

    most: Mapping[Call, Most]
    most_of_few: Mapping[Call, Most]

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        found = {}
        for call, most in self.most.items():
            left, parts = state[call], call.entry.anatomy
            few = left.retrieved < parts.retrieved or left.history < parts.history
            less = at_most(left, self.most_of_few[call] if few else most)
            if left.made and less:
                found[call] = left._replace(**less)
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
    standing: Standing,
    *,
    max_docs: int,
    max_doc_tokens: int,
    max_tokens: int,
    embeddings: Embeddings | None,
) -> Cut | None:
    """Have a `BudgetRetriever` cut the documents that were recorded.

    Args:
        traffic: What was recorded.
        questions: What was asked.
        standing: The documents that stand in the prompts.
        max_docs: How many documents are left where few are sent.
        max_doc_tokens: As `BudgetRetriever` takes it.
        max_tokens: The same.
        embeddings: The same.

    Returns:
        The lever; None where no prompt has documents whose texts were kept.
    """
    given = [call for call in standing.firsts() if questions.of(call)]
    sampled = given[:: -(-len(given) // _SAMPLED) or 1]
    budget = BudgetRetriever(
        retriever=Recorded(),
        max_docs=max_docs,
        max_doc_tokens=max_doc_tokens,
        max_tokens=max_tokens,
        embeddings=embeddings,
        counter=traffic.counter,
    )
    sizes = {
        call: _sizes(
            traffic, questions.of(call) or "", standing.given(call), call, budget
        )
        for call in sampled
    }
    usual = Sizes(*map(sum, zip(*sizes.values(), strict=True))) if sizes else Sizes()
    if not usual.whole:
        return None

    def of_all(document: Found) -> float:
        found = sizes.get(document.first, usual)
        return found.of_all / found.whole

    def of_few(document: Found) -> float:
        found = sizes.get(document.first, usual)
        return found.of_few / found.whole

    most = {c: found for c in traffic.asking if (found := standing.most(c, of_all))}
    return Cut(
        name=CHUNK_SIZE,
        most=most,
        most_of_few={call: standing.most(call, of_few) for call in most},
        sure="simulated",
        assumption=f"Answers need no more than the nearest sentences of each document, "
        f"{max_doc_tokens:,} tokens of one and {max_tokens:,} of all at most.",
        details=(f"seen on {len(sampled):,} of {len(given):,} prompts with documents",),
    )


def _sizes(
    traffic: Traffic,
    question: str,
    documents: Sequence[str],
    call: Call,
    budget: BudgetRetriever,
) -> Sizes:
    """Have a retriever cut the documents that a call was given."""
    sent = []
    for limit in (max(len(documents), 1), budget.max_docs):
        recorded = budget.model_copy(
            update={"retriever": Recorded(found=documents[:limit])}
        )
        kept = recorded.invoke(question, max_docs=limit)
        sent.append(sum(traffic.count(each.page_content, call) for each in kept))
    return Sizes(sum(traffic.count(text, call) for text in documents), *sent)

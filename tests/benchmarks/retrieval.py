"""What a budget retriever keeps of an answer, and how few tokens it sends.

Run: python -m tests.benchmarks.retrieval [--plot PATH]

Reads retrieval/ and measure.py, which defines the figures, from the folder named by
LEAN_DATA (by default ../shared/data, beside the project). Figures are means over the
questions; in brackets the 95 % interval of a bootstrap over them. The plot is written
twice, as .svg and as .png: to PATH, or as retrieval.* into it where it is a folder.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from rich.console import Console
from rich.table import Table

from langchain_lean.context.retriever import BudgetRetriever
from tests.benchmarks.retrieval_methods import (
    DATA,
    DEPTH,
    Choices,
    Corpus,
    Figures,
    Floats,
    Question,
    Rows,
    Send,
    count,
    embeddings_filter,
    figures,
    interval,
    label,
    ours,
    resampled,
    together,
)
from tests.benchmarks.retrieval_speed import speed_table

WHOLE = (3, 5, DEPTH)
FILTERED = (3, 5)
LIMITS = (0.02, 0.04, 0.08, 0.15, 0.25)
CHOICE_LIMITS = (0.04, 0.08, 0.15)
FIXED_LIMITS = tuple(percent / 100 for percent in (*range(1, 16), 20, 25))
GAINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
GAIN_LIMITS = (0.08, 0.15)
PROMISED = {0.08: 0.86, 0.15: 0.91}
PROMISED_MRR = 0.8


def whole(ranking: str, k: int) -> Send:
    """The first documents of a ranking."""

    def send(question: Question) -> list[Document]:
        found: list[Document] = getattr(question, ranking)
        return found[:k]

    return send


def filtered(corpus: Corpus, k: int) -> Send:
    """The documents that `EmbeddingsFilter` takes of the fused ones."""
    classic = embeddings_filter(k, corpus.embeddings)
    return lambda asked: [*classic.compress_documents(asked.fused, asked.text)]


def as_it_comes(retriever: BudgetRetriever) -> Send:
    """Ours, nothing set; what it promises is asserted."""

    def send(question: Question) -> list[Document]:
        documents = retriever.invoke(question.text)
        sizes = [count(document.page_content) for document in documents]
        assert len(sizes) <= retriever.max_docs
        assert max(sizes, default=0) <= retriever.max_doc_tokens
        assert count(together(documents)) <= retriever.max_tokens
        return documents

    return send


def uncut(retriever: BudgetRetriever) -> Send:
    """Ours, with limits that leave nothing out but what repeats something."""
    return lambda asked: retriever.invoke(
        asked.text, max_docs=DEPTH, max_doc_tokens=10**9, max_tokens=10**9, min_gain=0
    )


def compared(corpus: Corpus, retriever: BudgetRetriever) -> Rows:
    """The figures of every method, by its settings."""
    rows: Rows = {}
    for name, ranking in (("dense", "dense"), ("BM25", "lexical"), ("fused", "fused")):
        rows[name] = {k: figures(corpus, whole(ranking, k)) for k in WHOLE}
    rows["EmbeddingsFilter"] = {
        k: figures(corpus, filtered(corpus, k)) for k in FILTERED
    }
    choices = Choices(corpus)
    rows["nearest sentences"] = {s: choices.nearest(s) for s in CHOICE_LIMITS}
    rows["nearest, each once"] = {s: choices.nearest_once(s) for s in CHOICE_LIMITS}
    rows["ours"] = {s: figures(corpus, ours(retriever, s), s) for s in LIMITS}
    rows["ours"]["by default"] = figures(corpus, as_it_comes(retriever))
    rows["ours"]["no limit"] = figures(corpus, uncut(retriever))
    rows["random sentences"] = {s: choices.random(s) for s in CHOICE_LIMITS}
    rows["new vocabulary"] = {s: choices.new_words(s) for s in CHOICE_LIMITS}
    return rows


def comparison(rows: Rows) -> Table:
    """What each method sends and keeps."""
    table = Table(
        "method", "what is sent", "MRR", "tokens sent", "% of fused top-20",
        "gold chunks kept", "gold sentences kept whole",
        title="What is kept of the answers, and what is sent for it",
        caption="Blind to the question: random sentences and new vocabulary.",
    )  # fmt: skip
    for name, settings in rows.items():
        table.add_section()
        for setting, row in settings.items():
            cells = [
                shown(row.reciprocal_rank),
                shown(row.tokens, ",.0f"),
                shown(100 * row.share, ".1f"),
                shown(row.chunks),
                shown(row.sentences),
            ]
            table.add_row(name, label(setting), *cells)
            name = ""
    return table


def shown(values: Floats, form: str = ".2f") -> str:
    """A mean and its interval."""
    means = resampled(values)
    return f"{means[0]:{form}} ({interval(means, form)})"


def budgets(corpus: Corpus, retriever: BudgetRetriever) -> Table:
    """Budgets that end where sentences add little, against those that are filled."""
    table = Table(
        "limit", "min_gain", "% sent", "tokens sent", "gold sentences kept whole",
        "a fixed budget of that size keeps", "difference",
        title="An adaptive budget against a fixed one (min_gain=0)",
        caption=f"the default min_gain is {retriever.min_gain}",
    )  # fmt: skip

    def budget(share: float, gain: float) -> Figures:
        return figures(corpus, ours(retriever, share, min_gain=gain), share)

    fixed = [budget(share, 0) for share in FIXED_LIMITS]
    for share in GAIN_LIMITS:
        table.add_section()
        for gain in GAINS:
            row = budget(share, gain)
            kept, equal = resampled(row.sentences), at_equal_share(row, fixed)
            table.add_row(
                label(share),
                f"{gain:g}",
                f"{100 * row.share.mean():.1f}",
                f"{row.tokens.mean():,.0f}",
                shown(row.sentences, ".3f"),
                f"{equal[0]:.3f}",
                f"{kept[0] - equal[0]:+.3f} ({interval(kept - equal, '+.3f')})",
            )
    return table


def at_equal_share(row: Figures, fixed: list[Figures]) -> Floats:
    """What fixed budgets keep at the share of tokens that a row sends, by resample."""
    shares = np.array([resampled(each.share) for each in fixed])
    kept = np.array([resampled(each.sentences) for each in fixed])
    sent = resampled(row.share)
    samples = range(len(sent))
    return np.array([np.interp(sent[i], shares[:, i], kept[:, i]) for i in samples])


def promises(rows: Rows) -> Table:
    """What must hold, and whether it does."""
    table = Table("what must hold", "at least", "seen", "", title="Ours")
    for share, promised in PROMISED.items():
        seen = rows["ours"][share].sentences.mean()
        name = f"gold sentences kept whole, {label(share)}"
        table.add_row(name, str(promised), f"{seen:.3f}", verdict(seen >= promised))
    seen = rows["ours"]["no limit"].reciprocal_rank.mean()
    holds = verdict(seen >= PROMISED_MRR)
    table.add_row("MRR, no limit", str(PROMISED_MRR), f"{seen:.3f}", holds)
    return table


def verdict(holds: bool) -> str:
    return "holds" if holds else "falls short"


def plot(rows: Rows, path: Path, console: Console) -> None:
    """Draw the plot, where that is possible."""
    if find_spec("matplotlib") is None:
        console.print("The plot is left out: matplotlib is not installed.")
        return
    from tests.benchmarks.retrieval_plot import draw

    written = " and ".join(map(str, draw(rows, PROMISED, path)))
    console.print(f"The plot is in {written}.")


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description="Measure the budget retriever.")
    parser.add_argument("--plot", type=Path, default=Path("lean-retrieval.svg"))
    arguments = parser.parse_args()
    console = Console(width=160)
    if not (DATA / "retrieval" / "questions.jsonl").is_file():
        console.print("Skipped: no retrieval/questions.jsonl in $LEAN_DATA.")
        return
    corpus = Corpus()
    retriever = corpus.retriever()
    tokens = np.mean([question.tokens for question in corpus.questions])
    console.print(
        f"{len(corpus.questions)} questions, {len(corpus.documents)} chunks; "
        f"the fused top-{DEPTH} have {tokens:,.0f} tokens on average"
    )
    rows = compared(corpus, retriever)
    console.print(comparison(rows))
    console.print(budgets(corpus, retriever))
    console.print(speed_table(corpus))
    plot(rows, arguments.plot, console)
    console.print(promises(rows))


if __name__ == "__main__":
    main()

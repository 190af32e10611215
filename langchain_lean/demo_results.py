"""How an arm of the demo did: its answers and figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.latency import percentile
from langchain_lean.accounting.report.data import Line, Report
from langchain_lean.accounting.report.words import exact_money
from langchain_lean.demo_chats import Knows, Question


@dataclass(frozen=True, slots=True)
class Answer:
    """What the help desk said.

    Attributes:
        question: What it was asked.
        text: Its answer.
        first_token: Seconds from the question to the first piece of the answer.
        whole: Seconds to its end.
    """

    question: Question
    text: str
    first_token: float = 0.0
    whole: float = 0.0

    @property
    def right(self) -> bool:
        """Whether it names what the question is about."""
        return self.question.answered_by(self.text)


@dataclass(frozen=True, slots=True)
class ArmResult:
    """How an arm did.

    Attributes:
        name: The arm.
        answers: Its answers, in the order they were asked for.
        report: What they took.
    """

    name: str
    answers: tuple[Answer, ...]
    report: Report

    def right(self, knows: Knows | None = None) -> tuple[int, int]:
        """How many answers name what their question is about, and of how many.

        Args:
            knows: Count the questions that this one knows the answer to; else all.
        """
        of = [a for a in self.answers if knows in (None, a.question.knows)]
        return sum(answer.right for answer in of), len(of)

    def latency(self) -> dict[str, tuple[float, float]]:
        """Seconds within which half of the answers came, and 95 % of them."""
        times = {
            "first token": [answer.first_token for answer in self.answers],
            "whole answer": [answer.whole for answer in self.answers],
        }
        return {
            part: (percentile(seen, 0.5) or 0.0, percentile(seen, 0.95) or 0.0)
            for part, seen in times.items()
        }

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        report, savings = self.report, self.report.savings
        shares = report.total.anatomy.shares()
        right, questions = self.right()
        recalled, to_recall = self.right("user")
        return {
            "arm": self.name,
            "questions": questions,
            "right": right,
            "to_recall": to_recall,
            "recalled": recalled,
            **_sums(report.total),
            "saved_usd": exact_money(savings.total),
            "saved_by_lever": {
                name: exact_money(lever.total) for name, lever in savings.levers.items()
            },
            "own_cost_usd": {k: exact_money(v) for k, v in savings.own_cost.items()},
            "shares": {k: round(v, 4) for k, v in shares.items()},
            "by_model": _by_name(report.models),
            "by_node": _by_name(report.nodes),
            "by_user": _by_name(report.users),
            "seconds": {
                part: {"p50": round(p50, 3), "p95": round(p95, 3)}
                for part, (p50, p95) in self.latency().items()
            },
        }


def _by_name(lines: Iterable[Line]) -> dict[str, Any]:
    return {line.name: _sums(line.totals) for line in lines}


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "input_tokens": totals.usage.input,
        "output_tokens": totals.usage.output,
        "usd": exact_money(totals.cost),
    }

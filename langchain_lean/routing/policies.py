"""The built-in policies, and what they are made of."""

from langchain_lean.routing.agreement import Agreement
from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.combined import all_of, any_of
from langchain_lean.routing.grader import Grader
from langchain_lean.routing.self_screen import SelfScreen
from langchain_lean.routing.verdict import EscalationPolicy, Verdict

__all__ = [
    "Agreement",
    "AnswerChecks",
    "EscalationPolicy",
    "Grader",
    "SelfScreen",
    "Verdict",
    "all_of",
    "any_of",
]

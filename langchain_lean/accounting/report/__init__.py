"""What a ledger shows: in the terminal, in a notebook, as a page."""

from langchain_lean.accounting.report.data import Report, make_report

__all__ = ["Report", "make_report"]

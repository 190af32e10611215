"""Answers that were paid for already."""

"""What each lever would have saved on traffic that was recorded, and how sure that is.

`what_if` reads a ledger and asks the levers themselves: a cache which requests it would
have answered, a retriever what it would have sent, a memory when it would have taken
notes. Nothing is sent to any model.
"""

from __future__ import annotations

from langchain_lean.whatif.asking import what_if
from langchain_lean.whatif.costs import Saved, Sure
from langchain_lean.whatif.result import Lever, WhatIf

__all__ = ["Lever", "Saved", "Sure", "WhatIf", "what_if"]

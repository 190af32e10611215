"""Prompt prefixes that stay the same from call to call, so that providers cache them.

`stable_prefix` puts first what is equal, `before_question` and `behind_prefix` put
retrieved documents behind it (`in_thread_order` orders them), `cache_points` marks it
in the provider's form where that pays, `bundle_or_retrieve` says whether all documents
belong into it, and `PrefixMonitor` tells what broke it and what that cost.
"""

from langchain_lean.context.prefixes.monitor import PrefixMonitor
from langchain_lean.context.prefixes.points import CachedPrompt, cache_points
from langchain_lean.context.prefixes.report import (
    PrefixChange,
    PrefixReport,
    PromptId,
    PromptPrefix,
)
from langchain_lean.context.prefixes.stable import (
    StablePrompt,
    before_question,
    behind_prefix,
    in_thread_order,
    stable_prefix,
)
from langchain_lean.context.prefixes.volatile import is_volatile
from langchain_lean.context.prefixes.worth import BundleOrRetrieve, bundle_or_retrieve

__all__ = [
    "BundleOrRetrieve",
    "CachedPrompt",
    "PrefixChange",
    "PrefixMonitor",
    "PrefixReport",
    "PromptId",
    "PromptPrefix",
    "StablePrompt",
    "before_question",
    "behind_prefix",
    "bundle_or_retrieve",
    "cache_points",
    "in_thread_order",
    "is_volatile",
    "stable_prefix",
]

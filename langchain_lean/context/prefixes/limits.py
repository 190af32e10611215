"""What providers cache of a prompt: from how many tokens on, and by how many marks.

Where the figures are from, as of November 2026 (those of the newest models as others
quote them):

- Anthropic's page on prompt caching and Bedrock's, "Prompt caching for faster model
  inference": 1,024 tokens for Claude 3.5 to 4.5 Sonnet, Opus 3 to 4.1 and 4.8 and the
  newer Sonnet 5 and Opus 5; 2,048 for Haiku 3 and 3.5 and Opus 4.7; 4,096 for Opus 4.5
  and 4.6 and Haiku 4.5. Sonnet 4.6 is written there with 1,024 and seen to cache from
  2,048 on, so it has these; a Claude that is not named has 4,096.
- Nova: 1,000 tokens by Bedrock's page, taken as 1,024; no mark behind tools, and five
  minutes only. An hour is for Claude 4.5 and newer on Bedrock.
- OpenAI's guide: 1,024 tokens; marks from GPT-5.6 on, before that without being asked.
- Four marks at each of them. Nova and OpenAI find a prefix at a mark only; Claude also
  some twenty blocks before one.
"""

import re
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["anthropic", "invoke", "converse", "openai"]
"""Whose form of marks a prompt has; `invoke` is Anthropic's, by `ChatBedrock`."""

Lifetime = Literal["5m", "1h"]
"""How long a provider keeps what it has cached."""

_DIALECTS: dict[str, Dialect] = {
    "anthropic": "anthropic",
    "anthropic-bedrock": "anthropic",
    "anthropic-mantle": "anthropic",
    "google-anthropic-vertex": "anthropic",
    "amazon-bedrock": "converse",
    "aws": "converse",
    "bedrock": "converse",
    "bedrock-converse": "converse",
    "azure": "openai",
    "azure-openai": "openai",
    "openai": "openai",
    "openai-mantle": "openai",
}
_CLAUDE = re.compile(
    r"claude-(?:(?P<old>\d)(?:-(?P<half>\d))?-)?(?P<kind>[a-z]+)"
    r"(?:-(?P<new>\d)(?:-(?P<minor>\d{1,2}))?(?!\d))?"
)
_BEFORE_CACHING = re.compile(r"claude-(?:v\d|2|instant|3-sonnet)")
_GPT = re.compile(r"(?:^|[/.])gpt-(\d+)(?:\.(\d+))?")
_MOST_MARKS = 4
_SMALLEST = 1_024
_UNKNOWN = 4_096
_CLAUDES = {
    **{("haiku", v): 2_048 for v in ((3, 0), (3, 5))},
    **{("sonnet", v): 1_024 for v in ((3, 5), (3, 7), (4, 0), (4, 5), (5, 0))},
    **{("opus", v): 1_024 for v in ((3, 0), (4, 0), (4, 1), (4, 8), (5, 0))},
    ("opus", (4, 7)): 2_048,
    ("sonnet", (4, 6)): 2_048,
}
_NOT_ON_BEDROCK = {("haiku", (3, 0)), ("sonnet", (3, 5)), ("opus", (3, 0))}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """What a provider caches of the prompts of a model.

    Attributes:
        dialect: Whose form its marks have.
        minimum: From how many tokens on a prefix is cached.
        marks: How many marks a prompt can have; 0 where it caches unasked.
        tools: Whether a mark can stand behind the tools.
        hour: Whether it keeps a prefix for an hour, where asked to.
        exact: Whether it finds a prefix only where a mark stands.
    """

    dialect: Dialect
    minimum: int
    marks: int = _MOST_MARKS
    tools: bool = True
    hour: bool = True
    exact: bool = False


def cache_rules(model: str, provider: str | None = None) -> CacheRules | None:
    """What a provider caches of the prompts of a model.

    Args:
        model: The model id.
        provider: The provider as LangChain names it; the model tells it where it is
            not given.

    Returns:
        The rules; None where the model is known to cache nothing, or the provider is
        not known to cache.
    """
    name = model.strip().lower()
    dialect = _dialect(name, provider)
    if dialect == "openai":
        return _openai(name)
    if dialect == "converse" and "nova" in name:
        return CacheRules(
            dialect=dialect, minimum=_SMALLEST, tools=False, hour=False, exact=True
        )
    return _claude(name, dialect) if dialect else None


def _dialect(model: str, provider: str | None) -> Dialect | None:
    if provider:
        return _DIALECTS.get(provider.strip().lower().replace("_", "-"))
    if "anthropic." in model or "amazon." in model:
        return "converse"
    return "anthropic" if "claude" in model else "openai" if _GPT.match(model) else None


def _openai(model: str) -> CacheRules:
    named = _GPT.search(model)
    version = (int(named[1]), int(named[2] or 0)) if named else (0, 0)
    marks = _MOST_MARKS if version >= (5, 6) else 0
    return CacheRules(
        dialect="openai", minimum=_SMALLEST, marks=marks, tools=False, exact=True
    )


def _claude(model: str, dialect: Dialect) -> CacheRules | None:
    if "claude" not in model or _BEFORE_CACHING.search(model):
        return None
    named = _CLAUDE.search(model)
    if named is None:
        return None if dialect == "converse" else _rules(dialect, _UNKNOWN)
    version = (
        int(named["old"] or named["new"] or 0),
        int(named["half"] or named["minor"] or 0),
    )
    known = (named["kind"], version)
    if dialect == "converse" and (known in _NOT_ON_BEDROCK or version < (3, 5)):
        return None
    hour = dialect != "converse" or version >= (4, 5)
    return _rules(dialect, _CLAUDES.get(known, _UNKNOWN), hour=hour)


def _rules(dialect: Dialect, minimum: int, *, hour: bool = True) -> CacheRules:
    return CacheRules(dialect=dialect, minimum=minimum, hour=hour)

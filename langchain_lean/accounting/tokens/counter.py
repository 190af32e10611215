"""How many tokens a call will use, estimated before it and corrected by what came back.

Text is counted by `text`, messages, tools and media are taken apart by
`parts`, and `regression` learns a model's habits.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import (
    BaseMessage,
    MessageLikeRepresentation,
    convert_to_messages,
)

from langchain_lean.accounting.tokens.parts import MEDIA_BOUND, CallParts, tool_preamble
from langchain_lean.accounting.tokens.regression import Correction, Prior
from langchain_lean.accounting.tokens.text import (
    ENCODINGS,
    TextFeatures,
    encoded_tokens,
    estimate_tokens,
    load_encoding,
    rank_file,
    text_features,
)
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    import tiktoken

Content = str | BaseMessage | Sequence[MessageLikeRepresentation]
"""What can be counted: a text, a message, or messages in any form LangChain takes."""

_ESTIMATE = "utf8"
_BASES = (*ENCODINGS, _ESTIMATE)
_UNKNOWN = Prior()
_OWN_ENCODING = Prior(scale=0.02, firmness=50)
# claude-3-haiku's own counts of 405 prompts (RouterArena's recorded calls) are together
# 1.11 times o200k_base and 6 a call.
_CLAUDE = Prior(factor=1.1)
_SLACK = 8
_MOST_TOKENS = 100_000_000
_MOST_MODELS = 1_000
_MEMO = 16_384


class _Measure(NamedTuple):
    """The features of a call, and the tokens of its media."""

    features: tuple[float, ...]
    media: float


class TokenCounter:
    """Counts tokens before a call, and learns from what providers report after it.

    Counting never downloads and never asks a model. Where the encoding's rank file is
    on this machine (the `offline` extra brings it), tiktoken counts text; loading the
    file takes about 0.4 s, once per process, at the first count or when `base` is read.
    Elsewhere an estimate by script does. What a model reports through `observe`
    corrects its later counts: a bias is gone after a few calls, finer habits (digits,
    symbols, spaces) after some tens. Media are counted by constants, never learned.

    Safe to use from many threads. Texts are not kept, only hashes and features of the
    last 16,384 to 32,768, so that a text already seen costs next to nothing.

    Args:
        encoding: tiktoken encoding, `"o200k_base"` or `"cl100k_base"`; or `"utf8"` for
            the estimate by script, which has no file to load.

    Raises:
        ConfigurationError: The encoding is not one of these.

    Example:
        ```python
        counter = TokenCounter()
        counter.count("How many tokens is this?")
        trim_messages(messages, max_tokens=4_000, token_counter=counter)
        ```
    """

    def __init__(self, *, encoding: str = "o200k_base") -> None:
        if encoding not in _BASES:
            raise ConfigurationError(
                f"No such encoding: {encoding!r}; use one of {', '.join(_BASES)}."
            )
        self._encoding = encoding
        self._lock = threading.RLock()
        self._learned: dict[tuple[str, str], Correction] = {}
        self._young: dict[tuple[int, int], TextFeatures] = {}
        self._old: dict[tuple[int, int], TextFeatures] = {}
        self._loaded: tuple[tiktoken.Encoding | None] | None = None

    @property
    def _encoder(self) -> tiktoken.Encoding | None:
        if self._loaded is None:
            file = None if self._encoding == _ESTIMATE else rank_file(self._encoding)
            self._loaded = (load_encoding(self._encoding, file) if file else None,)
        return self._loaded[0]

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Have a lock of its own in a forked process; what was learned stays."""
        self._lock = threading.RLock()

    @property
    def base(self) -> str:
        """What counts text: the name of the encoding, or `"utf8"` for the estimate."""
        return self._encoding if self._encoder else _ESTIMATE

    def __call__(self, messages: Iterable[MessageLikeRepresentation]) -> int:
        """The count of a message list: what `trim_messages` and middleware ask for."""
        return self.count(list(messages))

    def count(
        self,
        content: Content,
        *,
        model: str | None = None,
        tools: Sequence[Any] | None = None,
    ) -> int:
        """Input tokens of a text or of a call with these messages.

        Args:
            content: A text (counted as it is, without a call around it), a message, or
                a sequence of messages in any form LangChain takes.
            model: Model id; the count is corrected by what it has reported.
            tools: Tools bound to the call: dictionaries, tools, classes or functions.

        Returns:
            0 for no content, at least 1 for any other.
        """
        return self._count(self._measure(content, model, tools), model)

    def upper_bound(
        self,
        content: Content,
        *,
        model: str | None = None,
        tools: Sequence[Any] | None = None,
    ) -> int:
        """Input tokens that the call will hardly ever exceed, for reservations.

        About 1.5 times the count for a model that has reported nothing, and 8 tokens
        for what its chat template may add; about 1.15 times after a hundred reports.
        Takes what `count` takes, and is never below it.
        """
        return self._bound(self._measure(content, model, tools), model)

    def count_and_bound(
        self,
        content: Content,
        *,
        model: str | None = None,
        tools: Sequence[Any] | None = None,
    ) -> tuple[int, int]:
        """`count` and `upper_bound` of the same, for little more than one of them."""
        measure = self._measure(content, model, tools)
        return self._count(measure, model), self._bound(measure, model)

    def observe(
        self,
        content: Content,
        model: str,
        actual: float,
        *,
        tools: Sequence[Any] | None = None,
    ) -> None:
        """Learns that `model` reported `actual` input tokens for this content.

        Numbers that cannot be a count (bool, NaN, below 1, above 100 million, ten times
        off) are ignored, and so are calls with media; lone outliers hardly pull.
        """
        if not (isinstance(model, str) and model.strip() and _plausible(actual)):
            return
        measure = self._measure(content, model, tools)
        if measure.media:
            return
        key = self._key(model)
        with self._lock:
            learned = self._correction(model).learn(measure.features, actual)
            self._keep(key, learned)

    def learned(self) -> dict[str, dict[str, Any]]:
        """What was learned, as JSON: about 600 bytes for each `"base/model"`.

        A row is a whole, not a difference: where two processes write one file, the row
        of more calls is the one to keep, which is what `restore` does.
        """
        with self._lock:
            rows = sorted(self._learned.items())
        return {f"{base}/{model}": row.dump() for (base, model), row in rows}

    def restore(self, state: object) -> None:
        """Takes over what `learned` gave, here or in another process.

        A row replaces one that has learned from fewer calls. What is not a row of
        `learned` is ignored.
        """
        for name, row in state.items() if isinstance(state, Mapping) else ():
            base, _, model = str(name).partition("/")
            if model and base in _BASES:
                self._keep((base, model), Correction.load(_prior(base, model), row))

    def _count(self, measure: _Measure, model: str | None) -> int:
        total = self._correction(model).estimate(measure.features) + measure.media
        return max(1, round(total)) if total else 0

    def _bound(self, measure: _Measure, model: str | None) -> int:
        correction = self._correction(model)
        text = correction.estimate(measure.features)
        if not text:
            return 0
        text *= 1 + correction.margin(measure.features)
        slack = _SLACK / (1 + correction.calls)
        return math.ceil(text + slack + measure.media * MEDIA_BOUND)

    def _keep(self, key: tuple[str, str], correction: Correction | None) -> None:
        if correction is None or not correction.calls:
            return
        with self._lock:
            known = self._learned.get(key)
            if known is None and len(self._learned) >= _MOST_MODELS:
                return
            if known is None or known.calls < correction.calls:
                self._learned[key] = correction

    def _key(self, model: str) -> tuple[str, str]:
        return self.base, model.strip().lower()

    def _correction(self, model: str | None) -> Correction:
        if not model:
            return Correction.start(_UNKNOWN)
        key = self._key(model)
        return self._learned.get(key) or Correction.start(_prior(*key))

    def _measure(
        self, content: Content, model: str | None, tools: Sequence[Any] | None
    ) -> _Measure:
        tools = tools or ()
        if isinstance(content, str):
            parts, call = CallParts((), tools), 0
            parts.texts.append(content)
        else:
            messages = _messages(content)
            parts, call = CallParts(messages, tools), int(bool(messages))
        parts.overhead += tool_preamble(model) if tools else 0
        known = self._young.get
        rows = [known((hash(t), len(t))) or self._features(t) for t in parts.texts]
        tokens, *others = map(sum, zip(*rows, strict=True)) if rows else (0,) * 5
        return _Measure((tokens + parts.overhead, *others, call), parts.media)

    def _features(self, text: str) -> TextFeatures:
        key = hash(text), len(text)
        features = self._young.get(key)
        if features is None:
            features = self._old.get(key) or text_features(text, self._tokens)
            if len(self._young) >= _MEMO:
                self._young, self._old = {}, self._young
            self._young[key] = features
        return features

    def _tokens(self, text: str) -> int:
        encoder = self._encoder
        return encoded_tokens(encoder, text) if encoder else estimate_tokens(text)


def _messages(content: BaseMessage | Sequence[MessageLikeRepresentation]) -> list[Any]:
    if isinstance(content, BaseMessage):
        return [content]
    if all(isinstance(message, BaseMessage) for message in content):
        return list(content)
    return convert_to_messages(content)


def _plausible(actual: object) -> bool:
    return (
        isinstance(actual, int | float)
        and not isinstance(actual, bool)
        and 1 <= actual <= _MOST_TOKENS
    )


@functools.lru_cache(_MOST_MODELS)
def _prior(base: str, model: str) -> Prior:
    """What is known of a family of models before it reports anything."""
    if "claude" in model:
        return _CLAUDE
    if base == _ESTIMATE:
        return _UNKNOWN
    from tiktoken.model import encoding_name_for_model

    try:
        own = encoding_name_for_model(model) == base
    except KeyError:
        own = False
    return _OWN_ENCODING if own else _UNKNOWN

"""What levers did, or could not do, that an answer may be worse for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

_LONGEST = 500  # characters; more is no reason but a text somebody wrote


class NoticeKind(NamedTuple):
    """What happened, without when and where.

    Attributes:
        lever: The lever's name.
        action: What it did.
        reason: Why.
    """

    lever: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one lever did on one occasion that an answer may be worse for.

    Attributes:
        lever: Such as `retriever` or `memory`.
        action: What it did, in a word or two, such as `skipped`.
        reason: Why, in a few words without anything a user wrote. Of this, as of
            `lever` and `action`, the first 500 characters are kept.
        id: Counted once, however often it is told.
        at: When it was reported, in UTC.
        run_id: The run it happened in; None where that is not known.
    """

    lever: str
    action: str
    reason: str
    id: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str | None = None

    def __post_init__(self) -> None:
        texts = (self.lever, self.action, self.reason, self.id, self.run_id or "")
        if not (
            all(isinstance(text, str) for text in texts)
            and isinstance(self.at, datetime)
        ):
            msg = "A notice needs texts for what happened and a time."
            raise TypeError(msg)
        for name in ("lever", "action", "reason"):
            object.__setattr__(self, name, getattr(self, name)[:_LONGEST])

    @property
    def kind(self) -> NoticeKind:
        """What happened, without when and where."""
        return NoticeKind(self.lever, self.action, self.reason)

    @classmethod
    def from_event(cls, data: Mapping[str, Any], run_id: str | None) -> "Notice":
        """The notice of a custom event.

        Args:
            data: What the event carries.
            run_id: The run it was dispatched in, as text.
        """
        return cls(**{**data, "run_id": run_id})

"""The errors of the package.

LeanError
├── ConfigurationError   something was set up in a way that cannot work
├── UnpricedModelError   no price is known for a model
├── UsageError           a count of tokens cannot be true
└── StorageError         a file or a server that keeps records cannot be used
"""


class LeanError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(LeanError, ValueError):
    """Something was set up in a way that cannot work; the message says what to do."""


class UnpricedModelError(LeanError, LookupError):
    """No price is known for a model.

    Attributes:
        model: The model id as it was given.
        provider: The provider it was looked up with, if any.
    """

    def __init__(self, model: str, provider: str | None = None) -> None:
        self.model = model
        self.provider = provider
        where = f" from provider {provider!r}" if provider else ""
        super().__init__(
            f"No price is known for model {model!r}{where}; add one with "
            f'PriceBook().with_price({model!r}, input="...", output="...").'
        )

    def __reduce__(self) -> tuple[type["UnpricedModelError"], tuple[str, str | None]]:
        return type(self), (self.model, self.provider)


class UsageError(LeanError, ValueError):
    """A count that cannot be true: negative, fractional, or larger than its total."""


class StorageError(LeanError):
    """A file or a server that keeps records cannot be used as asked."""

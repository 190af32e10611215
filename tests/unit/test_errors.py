"""The error tree: what may be caught as what, and that it crosses processes."""

import copy
import pickle

import pytest

from langchain_lean.errors import (
    ConfigurationError,
    LeanError,
    StorageError,
    UnpricedModelError,
)

ERRORS = [
    LeanError("what went wrong"),
    ConfigurationError("what to do"),
    StorageError("what cannot be used"),
    UnpricedModelError("my-model"),
    UnpricedModelError("my-model", "my-provider"),
]
IDS = [f"{type(error).__name__}-{n}" for n, error in enumerate(ERRORS)]
every_error = pytest.mark.parametrize("error", ERRORS, ids=IDS)


@every_error
def test_every_error_can_be_caught_as_one(error):
    assert isinstance(error, LeanError)


@every_error
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(error, protocol):
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@every_error
def test_every_error_survives_copying(error):
    assert str(copy.deepcopy(error)) == str(error)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(ConfigurationError("x"), ValueError), (UnpricedModelError("x"), LookupError)],
)
def test_an_error_is_also_the_builtin_one_it_stands_for(error, builtin):
    assert isinstance(error, builtin)


def test_an_unpriced_model_is_named_with_its_provider_and_the_remedy():
    error = UnpricedModelError("my-model", "my-provider")
    assert (error.model, error.provider) == ("my-model", "my-provider")
    assert "'my-model' from provider 'my-provider'" in str(error)
    assert "with_price('my-model'" in str(error)


def test_a_provider_that_is_not_known_is_not_named():
    assert "provider" not in str(UnpricedModelError("my-model"))

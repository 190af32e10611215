"""A browser for all tests of a process."""

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, executable


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    path = executable()
    if path is None:
        said = "Pages are not looked at, for this machine has no Chromium."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    with Chromium(path) as browser:
        yield browser

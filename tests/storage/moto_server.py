"""A DynamoDB stand-in: moto's server in a process of its own.

It answers one request at a time, as DynamoDB serialises the writes to an item: moto
itself copies tables without locks, so that threads of it would admit too much.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The server's URL; skips where moto is not installed, but not in CI."""
    if any(importlib.util.find_spec(name) is None for name in ("moto", "flask_cors")):
        if os.environ.get("CI"):
            pytest.fail("moto[dynamodb,server] is missing")
        pytest.skip("needs moto[dynamodb,server]")
    command = [sys.executable, "-m", "tests.storage.moto_server"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody, for child processes too, and nothing of the machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def dynamodb_url(moto_endpoint: str, aws: None) -> str:
    """A table of this test's own, still to be made."""
    where = f"region=eu-west-1&endpoint={moto_endpoint}"
    return f"dynamodb://test-{uuid4().hex}?{where}&create=true"


def serve() -> None:
    """Serve until the process is ended; the first line printed is the port."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    class QuietHandler(MotoRequestHandler):
        def log_request(self, *_: object) -> None:
            """Write no line for every request."""

    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=False,
        request_handler=QuietHandler,
    )
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()

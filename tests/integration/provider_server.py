"""A server on 127.0.0.1 that answers like the OpenAI API and like Amazon Bedrock.

A test queues `Reply` values; each request takes the next one, or
`ProviderServer.default` when the queue is empty, and the path asked for decides the
dialect it is written in. Every answer closes its connection, so that neither side is
left with an open socket.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast
from urllib.parse import unquote

from tests.integration import bedrock_shapes as bedrock
from tests.integration import openai_shapes as openai
from tests.integration.bedrock_shapes import CONVERSE_USAGE
from tests.integration.openai_shapes import CHAT_USAGE, EMBEDDING_USAGE, RESPONSES_USAGE
from tests.integration.provider_replies import Json, Reply, ToolCall

__all__ = [
    "CHAT_USAGE",
    "CONVERSE_USAGE",
    "EMBEDDING_USAGE",
    "RESPONSES_USAGE",
    "ProviderServer",
    "Reply",
    "ToolCall",
]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What goes back: one body, or the events of a stream one by one."""

    body: bytes = b""
    events: Iterable[bytes] | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def _openai_answer(path: str, request: Json, reply: Reply) -> _Answer:
    if reply.status != 200:
        return _Answer(body=_dump(openai.error(reply)))
    if path == "/v1/embeddings":
        return _Answer(body=_dump(openai.embeddings(request, reply)))
    chat = path == "/v1/chat/completions"
    if not request.get("stream"):
        shape = openai.chat_completion if chat else openai.response
        return _Answer(body=_dump(shape(request, reply)))
    if chat:
        events = [*map(openai.sse, openai.chat_chunks(request, reply)), openai.SSE_END]
    else:
        events = [*map(openai.sse, openai.response_events(request, reply))]
    return _Answer(events=events, content_type="text/event-stream")


def _bedrock_answer(path: str, reply: Reply) -> _Answer:
    if reply.status != 200:
        headers = {"x-amzn-ErrorType": bedrock.error_type(reply)}
        return _Answer(body=_dump({"message": reply.text}), headers=headers)
    if path.endswith("/converse"):
        return _Answer(body=_dump(bedrock.converse(reply)))
    events = map(bedrock.frame, bedrock.converse_events(reply))
    return _Answer(events=events, content_type="application/vnd.amazon.eventstream")


def _dump(body: Json) -> bytes:
    return json.dumps(body).encode()


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for its threads
    request_queue_size = 128

    def __init__(self, provider: ProviderServer) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = unquote(self.path)
        reply = cast(_Http, self.server).provider._take(path, request)
        if reply.gate:
            reply.gate.wait()
        if path.startswith("/v1/"):
            answer = _openai_answer(path, request, reply)
        else:
            answer = _bedrock_answer(path, reply)
        with contextlib.suppress(ConnectionError):  # the client may be gone by now
            self._send(answer, reply)

    def _send(self, answer: _Answer, reply: Reply) -> None:
        self.close_connection = True
        if answer.events is None and reply.drop_after is not None:
            return
        self.send_response(reply.status)
        for name, value in {**answer.headers, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Connection", "close")
        if answer.events is None:
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for sent, event in enumerate(answer.events):
            if sent == reply.drop_after:
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


class ProviderServer:
    """Both providers on one port; a context manager that ends with all its threads.

    Attributes:
        default: What is answered when nothing is queued.
        requests: The parsed request bodies, in the order they came.
        paths: The paths they came to, decoded; Bedrock's name the model.
    """

    def __init__(self) -> None:
        self.default = Reply()
        self.requests: list[Json] = []
        self.paths: list[str] = []
        self._queue: deque[Reply] = deque()
        self._gates: list[threading.Event] = []
        self._ended = False
        self._arrived = threading.Condition()
        self._http = _Http(self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}
        )

    @property
    def url(self) -> str:
        """Where it listens; OpenAI's base URL is this plus `/v1`."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def reply(self, *replies: Reply) -> None:
        """Queue what the next requests are answered with, one each."""
        with self._arrived:
            self._queue.extend(replies)

    def wait_for(self, count: int, *, timeout: float = 10.0) -> None:
        """Return when `count` requests have come in; TimeoutError after `timeout` s."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came in.")

    def _take(self, path: str, request: Json) -> Reply:
        with self._arrived:
            self.requests.append(request)
            self.paths.append(path)
            reply = self._queue.popleft() if self._queue else self.default
            if reply.gate:
                self._gates.append(reply.gate)
                if self._ended:
                    reply.gate.set()
            self._arrived.notify_all()
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        with self._arrived:
            self._ended = True
            for gate in self._gates:
                gate.set()
        self._http.server_close()
        self._thread.join()

"""What the OpenAI API puts on the wire: bodies, streams, errors and their framing."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from tests.integration.provider_replies import Json, Reply, ToolCall, halves

CHAT_USAGE: Json = {
    "prompt_tokens": 1200,
    "completion_tokens": 80,
    "total_tokens": 1280,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
}
RESPONSES_USAGE: Json = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 1280,
}
EMBEDDING_USAGE: Json = {"prompt_tokens": 7, "total_tokens": 7}


def _chat_head(request: Json, reply: Reply, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": 1763800000,
        "model": reply.model or request["model"],
        "service_tier": reply.service_tier or "default",
        "system_fingerprint": "fp_1",
    }


def _chat_tool(call: ToolCall, arguments: str) -> Json:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _chat_stop(reply: Reply) -> str:
    return reply.stop(end="stop", tools="tool_calls", limit="length")


def chat_completion(request: Json, reply: Reply) -> Json:
    """The body of a chat completion, with `n` choices and one usage."""
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.tool_calls:
        message["tool_calls"] = [
            _chat_tool(call, json.dumps(call.args)) for call in reply.tool_calls
        ]
    end = {"logprobs": None, "finish_reason": _chat_stop(reply)}
    choices = [{"index": i, "message": message, **end} for i in range(_n(request))]
    body = _chat_head(request, reply, "chat.completion") | {"choices": choices}
    usage = reply.usage_or(CHAT_USAGE)
    return body | {"usage": usage} if usage else body


def _n(request: Json) -> int:
    return int(request.get("n") or 1)


def chat_chunks(request: Json, reply: Reply) -> Iterator[Json]:
    """The chunks of a streamed chat completion; usage only where it was asked for."""
    asked = (request.get("stream_options") or {}).get("include_usage", False)
    usage = reply.usage_or(CHAT_USAGE)
    head = _chat_head(request, reply, "chat.completion.chunk")
    if asked:
        head["usage"] = None

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return head | {"choices": [choice]}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for text in reply.chunks:
        yield chunk({"content": text})
    for index, call in enumerate(reply.tool_calls):
        yield chunk({"tool_calls": [{"index": index, **_chat_tool(call, "")}]})
        for part in halves(json.dumps(call.args)):
            delta = {"index": index, "function": {"arguments": part}}
            yield chunk({"tool_calls": [delta]})
    yield chunk({}, _chat_stop(reply))
    if asked and usage:
        yield head | {"choices": [], "usage": usage}


def response(request: Json, reply: Reply) -> Json:
    """The body of the Responses API."""
    items: list[Json] = []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append({"type": "message", "role": "assistant", "content": [part]})
    for call in reply.tool_calls:
        function = {"name": call.name, "arguments": json.dumps(call.args)}
        items.append({"type": "function_call", "call_id": call.id, **function})
    for index, item in enumerate(items):
        item |= {"id": f"item_{index}", "status": "completed"}
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": 1763800000,
        "status": "incomplete" if reply.truncated else "completed",
        "error": None,
        "incomplete_details": (
            {"reason": "max_output_tokens"} if reply.truncated else None
        ),
        "model": reply.model or request["model"],
        "output": items,
        "parallel_tool_calls": True,
        "service_tier": reply.service_tier or "default",
        "tool_choice": "auto",
        "tools": [],
        "usage": reply.usage_or(RESPONSES_USAGE) or None,
        "metadata": {},
    }


def response_events(request: Json, reply: Reply) -> Iterator[Json]:
    """The events of a streamed response; the last one carries the whole of it."""
    whole = response(request, reply)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    begun["incomplete_details"] = None
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(whole["output"]):
        events += (e | {"output_index": index} for e in _item_events(item, reply))
    events.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(events):
        yield event | {"sequence_number": number}


def _item_events(item: Json, reply: Reply) -> Iterator[Json]:
    is_message = item["type"] == "message"
    empty: Json = {"content": []} if is_message else {"arguments": ""}
    inner = _text_events(item, reply) if is_message else _arguments_events(item)
    begun = item | {"status": "in_progress"} | empty
    yield {"type": "response.output_item.added", "item": begun}
    for event in inner:
        yield event | {"item_id": item["id"]}
    yield {"type": "response.output_item.done", "item": item}


def _text_events(item: Json, reply: Reply) -> Iterator[Json]:
    part = item["content"][0]
    at: Json = {"content_index": 0}
    text = at | {"logprobs": []}
    empty = part | {"text": ""}
    yield {"type": "response.content_part.added", "part": empty, **at}
    for delta in reply.chunks:
        yield {"type": "response.output_text.delta", "delta": delta, **text}
    yield {"type": "response.output_text.done", "text": part["text"], **text}
    yield {"type": "response.content_part.done", "part": part, **at}


def _arguments_events(item: Json) -> Iterator[Json]:
    kind = "response.function_call_arguments"
    for delta in halves(item["arguments"]):
        yield {"type": f"{kind}.delta", "delta": delta}
    yield {"type": f"{kind}.done", "arguments": item["arguments"]}


def embeddings(request: Json, reply: Reply) -> Json:
    """One vector for each input: the same for the same input, `dimensions` long."""
    given = request["input"]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    size = request.get("dimensions") or 8
    vectors: list[Any] = [_vector(item, size) for item in inputs]
    if request.get("encoding_format") == "base64":
        packed = (struct.pack(f"<{size}f", *vector) for vector in vectors)
        vectors = [base64.b64encode(floats).decode() for floats in packed]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": reply.model or request["model"],
        "usage": reply.usage_or(EMBEDDING_USAGE),
    }


def _vector(item: str | list[int], size: int) -> list[float]:
    digest = hashlib.shake_128(json.dumps(item).encode()).digest(size)
    return [byte / 128 - 1 for byte in digest]


def error(reply: Reply) -> Json:
    """The body of an error."""
    kind = {429: "rate_limit_exceeded", 500: "server_error"}.get(
        reply.status, "invalid_request_error"
    )
    return {"error": {"message": reply.text, "type": kind, "param": None, "code": None}}


def sse(event: Json) -> bytes:
    """An event as a stream sends it: named where the event has a type."""
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


SSE_END = b"data: [DONE]\n\n"

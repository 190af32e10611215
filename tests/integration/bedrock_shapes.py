"""What Bedrock Converse puts on the wire: bodies, streams, errors and their framing."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator

from tests.integration.provider_replies import Json, Reply, halves

CONVERSE_USAGE: Json = {
    "inputTokens": 176,
    "outputTokens": 80,
    "totalTokens": 1792,
    "cacheReadInputTokens": 1024,
    "cacheReadInputTokenCount": 1024,
    "cacheWriteInputTokens": 512,
    "cacheWriteInputTokenCount": 512,
    "serverToolUsage": {},
}


def _converse_end(reply: Reply) -> tuple[Json, Json]:
    """Why the answer stopped, and what it used."""
    stop: Json = {
        "stopReason": reply.stop(end="end_turn", tools="tool_use", limit="max_tokens")
    }
    if reply.thinking_tokens is not None:
        details = {"thinking_tokens": reply.thinking_tokens}
        stop["additionalModelResponseFields"] = {
            "usage": {"output_tokens_details": details}
        }
    used: Json = {
        "usage": reply.usage_or(CONVERSE_USAGE),
        "metrics": {"latencyMs": 412},
    }
    if reply.service_tier:
        used["serviceTier"] = {"type": reply.service_tier}
    return stop, used


def converse(reply: Reply) -> Json:
    """The body of a Converse answer."""
    content: list[Json] = [{"text": reply.text}] if reply.text else []
    for call in reply.tool_calls:
        use = {"toolUseId": call.id, "name": call.name, "input": dict(call.args)}
        content.append({"toolUse": use})
    message = {"role": "assistant", "content": content}
    stop, used = _converse_end(reply)
    return {"output": {"message": message}, **stop, **used}


def converse_events(reply: Reply) -> Iterator[Json]:
    """The events of a ConverseStream answer, each as `{event type: payload}`."""
    blocks: list[tuple[Json | None, list[Json]]] = []
    if reply.text:
        blocks.append((None, [{"text": text} for text in reply.chunks]))
    for call in reply.tool_calls:
        parts = [{"toolUse": {"input": p}} for p in halves(json.dumps(call.args))]
        blocks.append(({"toolUse": {"toolUseId": call.id, "name": call.name}}, parts))
    yield {"messageStart": {"role": "assistant"}}
    for index, (start, deltas) in enumerate(blocks):
        at = {"contentBlockIndex": index}
        if start:
            yield {"contentBlockStart": {"start": start, **at}}
        for delta in deltas:
            yield {"contentBlockDelta": {"delta": delta, **at}}
        yield {"contentBlockStop": at}
    stop, used = _converse_end(reply)
    yield {"messageStop": stop}
    yield {"metadata": used}


def error_type(reply: Reply) -> str:
    """The name of an error, which Bedrock sends in a header."""
    return {
        400: "ValidationException",
        403: "AccessDeniedException",
        429: "ThrottlingException",
        503: "ServiceUnavailableException",
    }.get(reply.status, "InternalServerException")


def frame(event: Json) -> bytes:
    """An event in the binary framing `application/vnd.amazon.eventstream`.

    Lengths and a checksum of them, headers, the JSON payload, a checksum of it all.
    """
    [(kind, payload)] = event.items()
    headers = b"".join(
        struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value
        for name, value in (
            (b":event-type", kind.encode()),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    body = json.dumps(payload).encode()
    head = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = head + struct.pack(">I", zlib.crc32(head)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))

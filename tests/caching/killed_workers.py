"""Processes that ask a cache until they die: `python -m tests.caching.killed_workers`.

A nursery forks them, and another one for each that dies by a signal, until a file named
`stop` is there. Each answer names its tenant and its question; what is wrong with one,
and every exception of a caller, goes to the file `wrong`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage, HumanMessage

from langchain_lean import SemanticCache, scope
from langchain_lean.accounting.metered import embeddings_name
from langchain_lean.caching.prompts import Asked, prompt_string, read_prompt
from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.caching.stores.redis import RedisCacheStore
from langchain_lean.testing import ScriptedChatModel

TENANTS = [f"tenant-{number}" for number in range(5)]
TAGS = ["parcels"]
QUESTIONS = [f"Where is parcel number {number} now?" for number in range(40)]


class DigestEmbeddings(Embeddings):
    """A direction of its own for each text."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        chance = random.Random(zlib.crc32(text.encode()))
        return [chance.gauss(0, 1) for _ in range(32)]


def shared_cache(url: str) -> SemanticCache:
    """The cache as every process makes it; a few answers always have to leave.

    It waits long for Redis: on a busy machine, too, processes are to be killed while
    they use the cache, and not while they do without it.
    """
    most = 150 if url.startswith("sqlite") else 30
    store: str | CacheStore = url
    if url.startswith("redis"):
        store = RedisCacheStore(
            url, namespace="crashes", max_entries=most, timeout=60.0
        )
    return SemanticCache(
        DigestEmbeddings(),
        store=store,
        threshold=0.99,
        tenant_by="user_id",
        max_entries=most,
        tags=TAGS,
        namespace="crashes",
    )


def asked_by(tenant: str, question: str) -> Asked:
    """What a question of a tenant is to the cache."""
    prompt = prompt_string([HumanMessage(question)])
    llm_string = answering(lambda _: "")._get_llm_string(stop=None)
    embeddings = embeddings_name(DigestEmbeddings())
    return read_prompt(
        prompt, llm_string, tenant=tenant, embeddings=embeddings, tags=TAGS
    )


def answering(answer: Callable[[Sequence[BaseMessage]], str]) -> ScriptedChatModel:
    """A model as every process makes it."""
    return ScriptedChatModel(responses=[answer], loop=True)


def ask_on(url: str, folder: Path, seed: int) -> None:
    """Ask on and on."""
    chance = random.Random(seed)
    cache = shared_cache(url)
    tenant = ""

    def answer_for(messages: Sequence[BaseMessage]) -> str:
        return f"{tenant}: {messages[-1].text}"

    model = cache.model(answering(answer_for))
    made = os.open(folder / "made", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while not (folder / "stop").exists():
        tenant, question = chance.choice(TENANTS), chance.choice(QUESTIONS)
        with scope(user_id=tenant):
            answer = model.invoke(question)
        if answer.text != f"{tenant}: {question}":
            message = f"{tenant} asked {question!r} and got {answer.text!r}"
            raise AssertionError(message)
        if chance.random() < 0.002:
            cache.invalidate(tag="parcels")
        os.write(made, b".")


def forked(url: str, folder: Path) -> int:
    """A process that asks; its id."""
    seed = random.randrange(2**32)
    pid = os.fork()
    if not pid:
        signal.alarm(300)  # should whoever kills it be gone
        try:
            ask_on(url, folder, seed)
        except BaseException:
            with (folder / "wrong").open("a") as wrong:
                wrong.write(traceback.format_exc())
        os._exit(0)
    return pid


def main(url: str, folder: str, processes: str) -> None:
    """Keep that many processes asking; print the id of each."""
    place = Path(folder)
    # What a first answer imports takes half a second: once, not in every process.
    with scope(user_id=TENANTS[0]):
        shared_cache("memory://").model(answering(lambda _: "")).invoke(QUESTIONS[0])
    alive = {forked(url, place) for _ in range(int(processes))}
    print(*alive, flush=True)
    while alive:
        pid, status = os.wait()
        alive.discard(pid)
        if os.WIFSIGNALED(status) and not (place / "stop").exists():
            alive.add(born := forked(url, place))
            print(born, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

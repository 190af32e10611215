"""A cache in a SQLite file, for the processes of one machine.

Vectors are compared in memory: a process loads those of a partition when it first
looks there, and then what was added since.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from langchain_lean.caching.stores.base import LESSONS, CacheStore, Item, Near
from langchain_lean.caching.stores.index import VectorIndex
from langchain_lean.lifecycle import keep_until_exit
from langchain_lean.sqlite_file import Schema, SQLiteFile
from langchain_lean.vectors import Floats

_SCHEMA = Schema(
    kind="file of a cache",
    application=0x4C454143,  # "LEAC"
    version=1,
    statements=(
        # `seq` grows with every write, so that a process can ask what is new.
        "CREATE TABLE items (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
        " partition TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
        " label TEXT NOT NULL, vector BLOB, ends REAL, used REAL NOT NULL,"
        " UNIQUE (partition, key))",
        "CREATE INDEX items_by_partition ON items (partition, seq)",
        "CREATE INDEX items_by_use ON items (used)",
        "CREATE INDEX items_by_end ON items (ends) WHERE ends IS NOT NULL",
        "CREATE TABLE tags (tag TEXT, seq INT, PRIMARY KEY (tag, seq)) WITHOUT ROWID",
        "CREATE INDEX tags_by_item ON tags (seq)",
        "CREATE TABLE lessons (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " partition TEXT NOT NULL, lesson TEXT NOT NULL)",
        "CREATE INDEX lessons_by_partition ON lessons (partition, id)",
        "CREATE TABLE size (items INT NOT NULL)",
        "INSERT INTO size VALUES (0)",
        "CREATE TRIGGER added AFTER INSERT ON items"
        " BEGIN UPDATE size SET items = items + 1; END",
        "CREATE TRIGGER removed AFTER DELETE ON items BEGIN"
        " UPDATE size SET items = items - 1;"
        " DELETE FROM tags WHERE seq = old.seq; END",
    ),
)

_GET = (
    "SELECT seq, value FROM items"
    " WHERE partition = ? AND key = ? AND (ends IS NULL OR ends > ?)"
)
_NEW = (
    "SELECT seq, key, label, vector FROM items"
    " WHERE partition = ? AND seq > ? ORDER BY seq"
)
_KEYS = (
    "SELECT key FROM items WHERE partition = ? AND vector IS NOT NULL"
    " AND (ends IS NULL OR ends > ?)"
)
_ADD = (
    "INSERT INTO items (partition, key, value, label, vector, ends, used)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REMOVE = "DELETE FROM items WHERE partition = ? AND key = ?"
_INVALIDATE = "DELETE FROM items WHERE seq IN (SELECT seq FROM tags WHERE tag = ?)"
_SWEEP = "DELETE FROM items WHERE ends <= ?"
_LEAST_USED = (
    "DELETE FROM items WHERE seq IN (SELECT seq FROM items ORDER BY used LIMIT"
    " max(0, (SELECT items FROM size) - ?))"
)
_FORGET = (
    "DELETE FROM lessons WHERE partition = ? AND id <= (SELECT id FROM lessons"
    f" WHERE partition = ? ORDER BY id DESC LIMIT 1 OFFSET {LESSONS})"
)

_WAIT = 0.5  # seconds; a user would rather ask the model than wait for longer
_USES = 1_000  # uses that are noted before they are written
_ROUNDS = 3  # of finding what another process has removed, before all is compared


class _Loaded:
    """The vectors of a partition in memory, as far as the file was read.

    Attributes:
        seq: The newest item that was read.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._index = VectorIndex(0)

    def __len__(self) -> int:
        return len(self._index)

    def nearest(self, vector: Floats, count: int) -> list[Near]:
        """What is nearest to a vector, as far as is known."""
        return self._index.nearest(vector, count)

    def take(self, rows: Iterable[sqlite3.Row]) -> None:
        """Take what was written since."""
        for row in rows:
            self.seq = row["seq"]
            vector = np.frombuffer(row["vector"] or b"", np.float32)
            if not self and len(vector):
                self._index = VectorIndex(len(vector))
            if len(vector) == self._index.dimensions and len(vector):
                self._index.put(row["key"], row["label"], vector.astype(np.float64))
            else:
                self._index.remove(row["key"])

    def remove(self, key: str) -> None:
        """Remove what is gone from the file."""
        self._index.remove(key)

    def keep(self, keys: set[str]) -> None:
        """Remove all others."""
        for key in set(self._index.keys()) - keys:
            self._index.remove(key)


class SQLiteCacheStore(CacheStore):
    """Keeps items in one file.

    Args:
        path: The file; made at its first use if it is not there.
        max_entries: How many items are kept, of all partitions together; also how many
            vectors a process holds in memory.
        clock: Seconds since the epoch, the same for all who use the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_entries: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA, wait=_WAIT)
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.RLock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._uses: dict[int, float] = {}  # by `seq`
        self._newest_use = 0.0
        keep_until_exit(self, early=False)

    def get(self, partition: str, key: str) -> str | None:
        """The value of a key, which is used by that; None where there is none."""
        with self._lock:
            for row in self._file.select(_GET, partition, key, self._clock()):
                self._uses[row["seq"]] = self._now()
                if len(self._uses) >= _USES:
                    with self._file.transaction() as connection:
                        self._write_uses(connection)
                return str(row["value"])
        return None

    def nearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """The items of a partition nearest to a vector, the nearest first."""
        with self._lock:
            loaded = self._load(partition)
            for _ in range(_ROUNDS):
                near = loaded.nearest(vector, count)
                present = self._present(partition, near)
                if len(present) == len(near):
                    return near
                for one in near:
                    if one.key not in present:
                        loaded.remove(one.key)
            self._compare(partition, loaded)
            near = loaded.nearest(vector, count)
            present = self._present(partition, near)
        return [one for one in near if one.key in present]

    def put(self, partition: str, item: Item) -> None:
        """Keep an item: its value and its vector, both or neither."""
        now = self._clock()
        vector = item.vector
        row = (
            partition,
            item.key,
            item.value,
            item.label,
            None if vector is None else vector.astype(np.float32).tobytes(),
            None if item.seconds is None else now + item.seconds,
        )
        with self._lock, self._file.transaction() as connection:
            self._write_uses(connection)
            connection.execute(_REMOVE, (partition, item.key))
            added = connection.execute(_ADD, (*row, self._now()))
            tags = [(tag, added.lastrowid) for tag in item.tags]
            connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", tags)
            connection.execute(_SWEEP, (now,))
            connection.execute(_LEAST_USED, (self._max_entries,))

    def remove(self, partition: str, key: str) -> None:
        """Remove an item, if it is there."""
        with self._file.transaction() as connection:
            connection.execute(_REMOVE, (partition, key))

    def invalidate(self, tag: str) -> int:
        """Remove all items with a tag, in all partitions."""
        with self._file.transaction() as connection:
            return connection.execute(_INVALIDATE, (tag,)).rowcount

    def clear(self) -> None:
        """Remove everything."""
        with self._lock, self._file.transaction() as connection:
            for statement in ("DELETE FROM items", "DELETE FROM lessons"):
                connection.execute(statement)
            self._loaded.clear()
            self._uses.clear()

    def teach(self, partition: str, lessons: Sequence[str]) -> None:
        """Keep lessons of a partition; the newest `LESSONS` stay."""
        rows = [(partition, lesson) for lesson in lessons]
        with self._file.transaction() as connection:
            statement = "INSERT INTO lessons (partition, lesson) VALUES (?, ?)"
            connection.executemany(statement, rows)
            connection.execute(_FORGET, (partition, partition))

    def lessons(self, partition: str) -> list[str]:
        """The lessons of a partition, oldest first."""
        query = "SELECT lesson FROM lessons WHERE partition = ? ORDER BY id"
        return [str(row["lesson"]) for row in self._file.select(query, partition)]

    def close(self) -> None:
        """Write down what was used last, and close the file."""
        with self._lock:
            if self._uses:
                with self._file.transaction() as connection:
                    self._write_uses(connection)
            self._file.close()

    def hold(self) -> None:
        """Take the locks, so that no other thread holds one while the process forks."""
        self._lock.acquire()
        self._file.hold()

    def release(self) -> None:
        """Let go of the locks again."""
        self._file.release()
        self._lock.release()

    def forget(self) -> None:
        """Have a file and a lock of its own in a forked process."""
        self._lock = threading.RLock()
        self._file.forget()
        self._uses = {}

    def _load(self, partition: str) -> _Loaded:
        """The vectors of a partition, up to date; others leave for them."""
        loaded = self._loaded.setdefault(partition, _Loaded())
        self._loaded.move_to_end(partition)
        loaded.take(self._file.select(_NEW, partition, loaded.seq))
        if len(loaded) > self._max_entries:  # others have removed that many
            self._compare(partition, loaded)
        while len(self._loaded) > 1 and self._held() > self._max_entries:
            self._loaded.popitem(last=False)
        return loaded

    def _held(self) -> int:
        return sum(map(len, self._loaded.values()))

    def _compare(self, partition: str, loaded: _Loaded) -> None:
        rows = self._file.select(_KEYS, partition, self._clock())
        loaded.keep({row["key"] for row in rows})

    def _present(self, partition: str, near: Sequence[Near]) -> set[str]:
        """Which of these are still there."""
        marks = ", ".join("?" * len(near))
        query = (
            f"SELECT key FROM items WHERE partition = ? AND key IN ({marks})"
            " AND (ends IS NULL OR ends > ?)"
        )
        keys = [one.key for one in near]
        rows = self._file.select(query, partition, *keys, self._clock())
        return {row["key"] for row in rows}

    def _now(self) -> float:
        """The time of a use, later than of any before."""
        self._newest_use = max(self._clock(), self._newest_use + 1e-6)
        return self._newest_use

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        uses = [(used, seq) for seq, used in self._uses.items()]
        connection.executemany("UPDATE items SET used = ? WHERE seq = ?", uses)
        self._uses.clear()

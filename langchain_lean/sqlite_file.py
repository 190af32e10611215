"""A SQLite file, which several threads and processes may use at once."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_lean.errors import StorageError

_WAIT = 30.0  # seconds another process may hold the file
_MAGIC = b"SQLite format 3\0"  # how each such file begins
_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file, by its name
_CHECKED_BYTES = 64_000_000

_BAD_VALUES = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)

_inherited: list[sqlite3.Connection | None] = []


def is_database(path: Path) -> bool:
    """Whether a file is there and is SQLite's."""
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC


def files_of(path: Path) -> tuple[Path, ...]:
    """A file, and those that SQLite keeps beside it while it is in use."""
    file = path.resolve()
    return (file, *(file.with_name(file.name + ending) for ending in _BESIDE))


def belongs_to_database(path: Path) -> bool:
    """Whether a file is SQLite's, or has the name of one that it keeps beside it."""
    file = path.resolve()
    names = {file.name, *(file.name.removesuffix(ending) for ending in _BESIDE)}
    return any(is_database(file.with_name(name)) for name in names if name)


def is_busy(error: Exception) -> bool:
    """Whether another connection holds the file."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF == sqlite3.SQLITE_BUSY  # higher bits say more


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What makes a file one of a kind.

    Attributes:
        kind: What an error calls it, such as `ledger`.
        application: SQLite's `application_id`, so that no other file is taken for it.
        version: SQLite's `user_version`; a file of a newer one is refused.
        statements: What makes the tables of a new file.
        upgrades: By version, what brings a file of it to the next one.
    """

    kind: str
    application: int
    version: int
    statements: tuple[str, ...]
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def missing(self, version: int) -> tuple[str, ...]:
        """What brings a file of an older version to this one."""
        versions = range(version, self.version)
        return tuple(s for number in versions for s in self.upgrades.get(number, ()))


class SQLiteFile:
    """One connection to a file, shared by threads and opened anew after a fork.

    Args:
        path: The file; made at its first use if it is not there.
        schema: What it must be.
        wait: Seconds to wait for another process that holds the file.
    """

    def __init__(
        self, path: str | Path, schema: Schema, *, wait: float = _WAIT
    ) -> None:
        self.path = Path(path).absolute()
        self.schema = schema
        self.wait = wait
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._depth = 0  # above 1 where the garbage collector runs code of ours inside

    def select(self, query: str, *values: object) -> list[Any]:
        """The rows of a query.

        Raises:
            StorageError: If the file cannot be opened, is damaged or of another kind.
        """
        with self._open() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction that no other can come between.

        Raises:
            StorageError: As for `select`.
            ValueError: If a value cannot be kept in a file.
        """
        with self._open() as connection:
            if self._depth > 1:
                msg = f"The {self.schema.kind} is in use by this very thread."
                raise StorageError(msg)
            try:
                if connection.in_transaction:  # an interrupt left it open
                    connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Open the file anew in a forked process.

        SQLite forbids even to close a connection of the parent, so it is kept.
        """
        self._lock = threading.RLock()
        self._depth = 0
        _inherited.append(self._connection)
        self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, opened if need be, for this thread alone."""
        with self._lock:
            depth = self._depth
            try:
                self._depth = depth + 1
                if self._connection is None:
                    self._connection = _connect(self.path, self.schema, self.wait)
                yield self._connection
            except _BAD_VALUES as error:
                msg = f"A value cannot be kept in {str(self.path)!r}: {error}."
                raise ValueError(msg) from error
            except (sqlite3.Error, OSError) as error:
                why = f"cannot be used: {error}."
                if is_busy(error):
                    why = (
                        f"is held by another process for longer than {self.wait:g} s; "
                        "try again when that has ended."
                    )
                msg = f"The {self.schema.kind} {str(self.path)!r} {why}"
                raise StorageError(msg) from error
            finally:
                self._depth = depth


def _connect(path: Path, schema: Schema, wait: float) -> sqlite3.Connection:
    if not path.parent.is_dir():
        msg = (
            f"There is no folder {str(path.parent)!r} for the {schema.kind}; "
            "make it first."
        )
        raise StorageError(msg)
    connection = sqlite3.connect(
        path, timeout=wait, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        _prepare(connection, path, schema, wait)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection, path: Path, schema: Schema, wait: float
) -> None:
    """Make the tables of a new file, or those an older one lacks; refuse another kind.

    Other processes may be at the same, so all of it is one transaction.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        version, new = _version(connection, path, schema)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    if version > schema.version:
        msg = f"{str(path)!r} is of a newer langchain_lean; upgrade to read it."
        raise StorageError(msg)
    if new or version < schema.version:
        for statement in schema.statements if new else schema.missing(version):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.application}")
        connection.execute(f"PRAGMA user_version = {schema.version}")
    connection.execute("COMMIT")
    _write_ahead(connection, wait)


def _write_ahead(connection: sqlite3.Connection, wait: float) -> None:
    """Let readers and a writer work side by side; SQLite itself does not wait here."""
    until = time.monotonic() + wait
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            threading.Event().wait(0.01)
        else:
            return


def _version(
    connection: sqlite3.Connection, path: Path, schema: Schema
) -> tuple[int, bool]:
    """The version of a file, and whether it is still to be made."""

    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    application = pragma("application_id")
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if (application or tables) and application != schema.application:
        msg = (
            f"{str(path)!r} is no {schema.kind} but a database of another program; "
            "name another file."
        )
        raise StorageError(msg)
    small = path.stat().st_size <= _CHECKED_BYTES
    damage = pragma("quick_check(1)") if small else "ok"
    if damage != "ok":
        raise _damaged(path, damage)
    return pragma("user_version"), not tables


def _damaged(path: Path, why: object) -> StorageError:
    return StorageError(
        f"{str(path)!r} is damaged or no SQLite file; move it away: {why}."
    )

"""A fitted policy as one file: JSON for what has names, npz for arrays, no pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_lean.checks import checked_number
from langchain_lean.errors import StorageError
from langchain_lean.routing.learning.calibrated import Calibration
from langchain_lean.routing.learning.features import feature_names
from langchain_lean.routing.learning.fitting import Weights

_VERSION = 1
_HEAD = "head.json"
_DAMAGED = (
    AttributeError,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What is kept of a policy.

    Attributes:
        weights: What was learned.
        embeddings: What its embeddings are called; None if there are none.
        threshold: The lowest score that is good enough.
        calibration: What the threshold promises.
        fitted_on: Hashes of the rows it was fitted on.
    """

    weights: Weights
    embeddings: str | None
    threshold: float
    calibration: Calibration | None
    fitted_on: NDArray[np.uint64]


def write(path: str | os.PathLike[str], stored: Stored) -> None:
    """Write a file in place of what is there; it is there whole, or as it was."""
    answers = len(stored.weights.features) == len(feature_names(answers=True))
    head = {
        "version": _VERSION,
        "features": feature_names(answers=answers),
        "embeddings": stored.embeddings,
        "threshold": stored.threshold,
        "calibration": stored.calibration and asdict(stored.calibration),
    }
    arrays = {**asdict(stored.weights), "fitted_on": stored.fitted_on}
    arrays[_HEAD] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    packed = BytesIO()
    np.savez(packed, **arrays)
    target = Path(path)
    beside = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(packed.getvalue())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Stored:
    """Read what `write` wrote.

    Raises:
        StorageError: If it is damaged, something else, or of another version.
        OSError: If it cannot be read.
    """
    packed = BytesIO(Path(path).read_bytes())
    try:
        with np.load(packed, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        head = json.loads(arrays.pop(_HEAD).tobytes())
        known = [list(feature_names(answers=answers)) for answers in (False, True)]
        if head["version"] != _VERSION or head["features"] not in known:
            msg = f"{path} was written by another version: fit the policy anew."
            raise StorageError(msg)
        return _stored(head, arrays)
    except _DAMAGED:
        msg = f"{path} is damaged, or no file of LearnedPolicy.save: fit it anew."
        raise StorageError(msg) from None


def _stored(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Stored:
    """The parts of a file.

    Raises:
        KeyError, TypeError, ValueError: If one is missing or cannot be one.
    """
    fitted_on = arrays.pop("fitted_on")
    texts = 1 + (head["features"] == list(feature_names(answers=True)))
    bias = float(arrays.pop("bias"))
    weights = Weights(**arrays, bias=bias)
    count = (len(head["features"]),)
    embedded = (texts if head["embeddings"] is not None else 0,)
    parts = (weights.center, weights.scale, weights.features)
    shapes = [part.shape for part in parts]
    whole = shapes == [count] * 3 and weights.embeddings.shape[:-1] == embedded
    numbers = np.concatenate([*parts, weights.embeddings.ravel(), [bias]])
    sound = np.isfinite(numbers).all() and (weights.scale > 0).all()
    if not whole or not sound or fitted_on.dtype != np.uint64:
        msg = "the arrays do not fit together"
        raise ValueError(msg)
    return Stored(
        weights,
        None if head["embeddings"] is None else str(head["embeddings"]),
        checked_number("threshold", head["threshold"], 0, 1),
        head["calibration"] and Calibration(**head["calibration"]),
        fitted_on,
    )

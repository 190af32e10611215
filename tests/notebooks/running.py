"""Where the notebooks are, and what they give today."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Notebook = dict[str, Any]
Cell = dict[str, Any]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

_WIDGET = "application/vnd.jupyter.widget-view+json"


def read(name: str) -> Notebook:
    notebook: Notebook = json.loads(_path(name).read_text(encoding="utf-8"))
    return notebook


def write(name: str, notebook: Notebook) -> None:
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    _path(name).write_text(text + "\n", encoding="utf-8")


def executed(notebook: Notebook, env: Mapping[str, str] | None = None) -> Notebook:
    """The notebook with the outputs of today, as far as it ran.

    Args:
        notebook: As in its file.
        env: Added to the environment of its kernel.
    """
    with TemporaryDirectory() as folder:
        shutil.copytree(FOLDER / "data", Path(folder) / "data")
        ran = subprocess.run(
            [sys.executable, "-m", "tests.notebooks.kernel"],
            input=json.dumps(notebook),
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={
                **os.environ,
                "COLUMNS": "80",
                "PYTHONPATH": str(ROOT),
                "IPYTHONDIR": f"{folder}/.ipython",
                **(env or {}),
            },
        )
    if ran.returncode:
        raise RuntimeError(f"No kernel could be started: {ran.stderr}")
    return cleaned(json.loads(ran.stdout))


def cleaned(notebook: Notebook) -> Notebook:
    """The notebook without what depends on who ran it, and when."""
    return {
        "cells": [_cleaned_cell(cell) for cell in notebook["cells"]],
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def is_code(cell: Cell) -> bool:
    return bool(cell["cell_type"] == "code")


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def tags(cell: Cell) -> list[str]:
    found: list[str] = cell["metadata"].get("tags", [])
    return found


def _path(name: str) -> Path:
    return FOLDER / f"{name}.ipynb"


def _cleaned_cell(cell: Cell) -> Cell:
    kept = {key: cell[key] for key in ("cell_type", "id")}
    kept["metadata"] = {"tags": tags(cell)} if tags(cell) else {}
    kept["source"] = source(cell).splitlines(keepends=True)
    if is_code(cell):
        kept["execution_count"] = cell["execution_count"]
        kept["outputs"] = _cleaned_outputs(cell["outputs"])
    return kept


def _cleaned_outputs(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Streams in one piece, and nothing of progress bars: they are gone by now."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        data = output.get("data")
        if data and (
            _WIDGET in data or not "".join(data.get("text/plain", "-")).strip()
        ):
            continue
        last = kept[-1] if kept else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            text = "".join(last["text"]) + "".join(output["text"])
            last["text"] = text.splitlines(keepends=True)
        else:
            kept.append({**output})
    return kept

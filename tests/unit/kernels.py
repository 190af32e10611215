"""What a real Jupyter kernel shows below cells."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]


def outputs(*cells: str) -> list[list[Any]]:
    """Run cells in a kernel of their own, in a process of its own.

    Args:
        cells: The code of each cell.

    Returns:
        The outputs of each cell.
    """
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    with TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.notebooks.kernel"],
            input=nbformat.writes(notebook),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "IPYTHONDIR": folder},
            text=True,
            check=True,
        )
    return [cell.outputs for cell in nbformat.reads(ran.stdout, as_version=4).cells]

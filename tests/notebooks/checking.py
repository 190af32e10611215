"""What is wrong with a notebook, in sentences."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from tests.notebooks.running import Cell, Notebook, cleaned, is_code, source, tags

MOST_CODE_CELLS = 14
MOST_BYTES = 300_000
PROVIDERS = ("langchain_openai", "langchain_aws")

_STAND_INS = re.compile(r"langchain_lean\.testing\b")
_READING_TIME = re.compile(r"\b\d+ minutes\b")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_SAVED_BY = "run `python -m tests.notebooks --write`"


def differences(name: str, saved: Notebook, today: Notebook) -> list[str]:
    """What of the saved outputs the code does not give today, cell by cell.

    Args:
        name: The notebook's name.
        saved: The notebook as in its file.
        today: The same cells, executed.
    """
    found = []
    for before, now in zip(saved["cells"], today["cells"], strict=True):
        if not is_code(now):
            continue
        where = f"{name}, cell [{now['execution_count']}]"
        for error in (o for o in now["outputs"] if o["output_type"] == "error"):
            found.append(f"{where} raises {error['ename']}: {error['evalue']}")
            return found  # nothing after it ran
        found += [f"{where} {what}" for what in _differences(before, now)]
    return found


def complaints(name: str, notebook: Notebook) -> list[str]:
    """What of the form all notebooks have is missing.

    Args:
        name: The notebook's name.
        notebook: The notebook as in its file.
    """
    return [f"{name} {what}" for what in _complaints(notebook)]


def with_real_models(notebook: Notebook, provider: str) -> Notebook:
    """The notebook as after the only change that real models need.

    Args:
        notebook: The notebook as in its file.
        provider: One of `PROVIDERS`, whose lines in the cell of the models are
            commented out, as one paragraph.
    """
    cells = [
        {**cell, "source": f"{source(cell)}\n{_in_comments(source(cell), provider)}"}
        if "models" in tags(cell)
        else cell
        for cell in notebook["cells"]
    ]
    return {**notebook, "cells": cells}


def _differences(before: Cell, now: Cell) -> Iterator[str]:
    for output in now["outputs"]:
        if output.get("name") == "stderr":
            yield f"writes to stderr: {''.join(output['text'])!r}"
    kinds, kinds_now = (_kinds(cell["outputs"]) for cell in (before, now))
    if kinds != kinds_now:
        yield f"shows {kinds_now} where {kinds} is saved"
    elif "timings" not in tags(now):
        texts, texts_now = (_texts(cell["outputs"]) for cell in (before, now))
        for text, text_now in zip(texts, texts_now, strict=True):
            if text != text_now:
                yield _first_difference(text, text_now)


def _kinds(outputs: list[dict[str, Any]]) -> list[str]:
    kinds = []
    for output in outputs:
        kinds += [output["name"]] if "name" in output else sorted(output["data"])
    return kinds


def _texts(outputs: list[dict[str, Any]]) -> list[str]:
    """What the outputs say; how they look is left out, as images are."""
    return [
        _STYLE.sub("", "".join(text))
        for output in outputs
        for kind, text in sorted(output.get("data", {"": output.get("text")}).items())
        if not kind.startswith("image/")
    ]


def _first_difference(before: str, now: str) -> str:
    lines, lines_now = before.splitlines(), now.splitlines()
    for line, line_now in zip(lines, lines_now, strict=False):
        if line != line_now:
            return f"says {line_now!r} where {line!r} is saved"
    return f"says {len(lines_now)} lines where {len(lines)} are saved"


def _complaints(notebook: Notebook) -> Iterator[str]:
    cells = notebook["cells"]
    code = [cell for cell in cells if is_code(cell)]
    yield from _complaints_of_texts(cells)
    if len(code) > MOST_CODE_CELLS:
        yield f"has {len(code)} code cells, more than {MOST_CODE_CELLS}."
    if [cell["execution_count"] for cell in code] != [*range(1, len(code) + 1)]:
        yield f"was not run from top to bottom: {_SAVED_BY}."
    for cell in code:
        if any(map(_ADDRESS.search, _texts(cell["outputs"]))):
            yield f"shows an address in memory in cell [{cell['execution_count']}]."
    if notebook != cleaned(notebook):
        yield f"keeps who ran it, and when: {_SAVED_BY}."
    yield from _complaints_of_models(code)


def _complaints_of_texts(cells: list[Cell]) -> Iterator[str]:
    first = source(cells[0])
    texts = " ".join(source(cell) for cell in cells if not is_code(cell))
    if is_code(cells[0]) or not first.startswith("# "):
        yield "does not begin with a title."
    if not _READING_TIME.search(first):
        yield "does not say in its first cell how many minutes it takes."
    if "you will see" not in first.lower():
        yield "does not say in its first cell what you will see."
    if "stand-in" not in texts:
        yield "does not say that a stand-in is one."
    if "$" in texts:
        yield "has dollars in its text, where no check holds them: compute them."


def _complaints_of_models(code: list[Cell]) -> Iterator[str]:
    ours = [cell for cell in code if "models" in tags(cell)]
    if len(ours) != 1:
        yield f"has {len(ours)} cells tagged `models`, not one."
        return
    models = source(ours[0])
    if any(_STAND_INS.search(source(c)) for c in code if c is not ours[0]):
        yield "makes stand-ins in another cell than that tagged `models`."
    for provider in PROVIDERS:
        other = _in_comments(models, provider)
        if not other:
            yield f"does not say in its cell `models` how to use {provider}."
        elif missing := _models(models) - _assigned(other):
            yield f"has no {', '.join(sorted(missing))} by {provider}."


def _in_comments(models: str, provider: str) -> str:
    """The paragraph that is commented out and imports from the provider.

    Its first line says whose models they are.
    """
    for paragraph in models.split("\n\n"):
        if f"# from {provider} import" in paragraph:
            return "\n".join(line[2:] for line in paragraph.splitlines()[1:])
    return ""


def _assigned(code: str) -> set[str]:
    return {
        target.id
        for statement in ast.parse(code).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def _models(code: str) -> set[str]:
    """The models a cell makes: what it assigns and is called a model."""
    return {name for name in _assigned(code) if name.endswith("model")}

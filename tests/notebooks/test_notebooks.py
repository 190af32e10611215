"""The notebooks are what their code gives today, and the check of that can fail."""

import re
from copy import deepcopy
from typing import Any

import pytest

from tests.integration.provider_server import ProviderServer
from tests.notebooks.checking import (
    MOST_BYTES,
    MOST_CODE_CELLS,
    complaints,
    differences,
    with_real_models,
)
from tests.notebooks.running import (
    FOLDER,
    NAMES,
    Cell,
    Notebook,
    cleaned,
    executed,
    is_code,
    read,
    source,
)

MODELS = """\
from langchain_lean.testing import ScriptedChatModel

model = ScriptedChatModel(responses=["a"], loop=True)

# With OpenAI:
# from langchain_openai import ChatOpenAI
# model = ChatOpenAI(model="gpt-5-mini")

# With Amazon Bedrock:
# from langchain_aws import ChatBedrockConverse
# model = ChatBedrockConverse(model="claude")
"""
PNG = {"image/png": "iVBO", "text/plain": ["<Figure>"]}
TITLE = "# A title\n\n5 minutes. What you will see: a stand-in.\n"


def code(text: str, *outputs: dict[str, Any], count: int, tag: str = "") -> Cell:
    return {
        "cell_type": "code",
        "execution_count": count,
        "id": f"cell-{count}",
        "metadata": {"tags": [tag]} if tag else {},
        "outputs": list(outputs),
        "source": text.splitlines(keepends=True),
    }


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"name": name, "output_type": "stream", "text": text.splitlines(True)}


def data(bundle: dict[str, Any]) -> dict[str, Any]:
    return {"data": bundle, "metadata": {}, "output_type": "display_data"}


def notebook(*cells: Cell) -> Notebook:
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": TITLE}
    models = code(MODELS, count=1, tag="models")
    return cleaned({"cells": [title, models, *cells]})


GOOD = notebook(
    code("print('one')\nprint('two')", stream("one\ntwo\n"), count=2),
    code("plot()", data(PNG), count=3),
    code("time()", stream("1.0 s\n"), count=4, tag="timings"),
    code("table", data({"text/html": "<style>a {}</style><b>1</b>"}), count=5),
)


def changed(cell: int, *outputs: dict[str, Any]) -> Notebook:
    """The good notebook with other outputs in a code cell, by its number."""
    other = deepcopy(GOOD)
    next(c for c in other["cells"] if c.get("execution_count") == cell)["outputs"] = [
        *outputs
    ]
    return other


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_gives_the_outputs_that_are_saved_in_it(name: str) -> None:
    assert differences(name, read(name), executed(read(name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_form_of_all_notebooks(name: str) -> None:
    assert complaints(name, read(name)) == []
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_leads_to_pages_that_are_there(name: str) -> None:
    texts = [source(cell) for cell in read(name)["cells"] if not is_code(cell)]
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", "\n".join(texts))
    assert links
    assert [link for link in links if not (FOLDER / link).is_file()] == []


@pytest.mark.parametrize("provider", ["langchain_openai", "langchain_aws"])
def test_one_cell_is_all_that_changes_for_real_models(provider: str) -> None:
    saved = read("01_where_tokens_go")
    with ProviderServer() as server:
        env = {
            "OPENAI_API_KEY": "key",
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "key",
            "AWS_REGION": "us-east-1",
        }
        today = executed(with_real_models(saved, provider), env)
    outputs = [o for c in today["cells"] if is_code(c) for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert server.requests


def test_a_notebook_that_gives_what_it_did_has_no_differences() -> None:
    assert differences("nb", GOOD, deepcopy(GOOD)) == []
    assert complaints("nb", GOOD) == []


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (
            changed(2, stream("one\n2\n")),
            "nb, cell [2] says '2' where 'two' is saved",
        ),
        (
            changed(2, stream("one\ntwo\nthree\n")),
            "nb, cell [2] says 3 lines where 2 are saved",
        ),
        (
            changed(3, data({"text/plain": ["<Figure>"]})),
            "nb, cell [3] shows ['text/plain'] where ['image/png', 'text/plain'] "
            "is saved",
        ),
        (
            changed(3, data({**PNG, "text/plain": ["<Other>"]})),
            "nb, cell [3] says '<Other>' where '<Figure>' is saved",
        ),
        (
            changed(5, data({"text/html": "<style>a {}</style><b>2</b>"})),
            "nb, cell [5] says '<b>2</b>' where '<b>1</b>' is saved",
        ),
        (changed(4), "nb, cell [4] shows [] where ['stdout'] is saved"),
        (
            changed(2, {"ename": "E", "evalue": "why", "output_type": "error"}),
            "nb, cell [2] raises E: why",
        ),
    ],
)
def test_what_a_notebook_gives_anew_is_told_with_its_cell(
    today: Notebook, said: str
) -> None:
    assert differences("nb", GOOD, today) == [said]


def test_a_warning_on_stderr_is_told_even_where_it_is_saved() -> None:
    warned = changed(2, stream("Careful.\n", "stderr"))
    assert differences("nb", warned, warned) == [
        "nb, cell [2] writes to stderr: 'Careful.\\n'"
    ]


@pytest.mark.parametrize(
    "today",
    [
        changed(4, stream("2.0 s\n")),
        changed(3, data({**PNG, "image/png": "AAAA"})),
        changed(5, data({"text/html": "<style>b {}</style><b>1</b>"})),
    ],
)
def test_timings_and_looks_may_differ(today: Notebook) -> None:
    assert differences("nb", GOOD, today) == []


def test_what_is_missing_of_the_form_is_told() -> None:
    model = "from langchain_lean.testing import ScriptedChatModel"
    cells = [code(model, count=2 + i) for i in range(MOST_CODE_CELLS)]
    cells[0]["outputs"] = [stream("<Legend at 0x7f4d9bfa7a90>")]
    bad = notebook(*cells)
    bad["metadata"]["last_run"] = "today"
    bad["cells"][0]["source"] = ["A text of $5"]
    bad["cells"][1]["source"] = MODELS.replace("# model = ChatOpenAI", "# llm = X")
    assert complaints("nb", bad) == [
        "nb does not begin with a title.",
        "nb does not say in its first cell how many minutes it takes.",
        "nb does not say in its first cell what you will see.",
        "nb does not say that a stand-in is one.",
        "nb has dollars in its text, where no check holds them: compute them.",
        "nb has 15 code cells, more than 14.",
        "nb shows an address in memory in cell [2].",
        "nb keeps who ran it, and when: run `python -m tests.notebooks --write`.",
        "nb makes stand-ins in another cell than that tagged `models`.",
        "nb has no model by langchain_openai.",
    ]


def test_a_notebook_needs_one_cell_for_its_models() -> None:
    bad = notebook(code(MODELS, count=3, tag="models"))
    assert complaints("nb", bad) == [
        "nb was not run from top to bottom: run `python -m tests.notebooks --write`.",
        "nb has 2 cells tagged `models`, not one.",
    ]


def test_the_models_of_a_provider_take_the_place_of_the_stand_ins() -> None:
    other = with_real_models(GOOD, "langchain_aws")
    assert source(other["cells"][1]) == MODELS + (
        "\nfrom langchain_aws import ChatBedrockConverse\n"
        'model = ChatBedrockConverse(model="claude")'
    )


def test_a_kernel_makes_errors_of_warnings_and_reaches_no_other_host() -> None:
    elsewhere = "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80))\n"
    today = executed(
        notebook(
            code(elsewhere + "except Exception as e:\n    print(e)", count=2),
            code("import warnings\nwarnings.warn('Careful.')", count=3),
            code("print('not reached')", count=4),
        )
    )
    _, _, network, warning, after = today["cells"]
    assert "192.0.2.1" in "".join(network["outputs"][0]["text"])
    assert warning["outputs"][0]["ename"] == "UserWarning"
    assert after["outputs"] == []


def test_progress_bars_are_not_kept_and_pieces_of_a_stream_are_joined() -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": ["Bar"]}
    today = cleaned(
        notebook(code("x", stream("a"), data(widget), stream("b\nc"), count=2))
    )
    assert today["cells"][2]["outputs"] == [stream("ab\nc")]

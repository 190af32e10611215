"""The rooms of the house: who may import whom, and what the front door shows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import langchain_lean

PACKAGE = Path(langchain_lean.__file__).parent

FLOORS = (
    (
        "errors",
        "answers",
        "checks",
        "command_line",
        "messages",
        "in_words",
        "models",
        "node",
        "own_run",
        "progress",
        "redis_server",
        "showing",
        "embeddings",
        "lifecycle",
        "sqlite_file",
        "steps",
        "stop_sequences",
        "vectors",
    ),
    ("accounting",),
    ("budgets",),
    ("context", "routing", "caching"),
    ("graph", "middleware", "whatif"),
    ("testing", "demo", "cli", "__main__"),
)
"""Each room may import the rooms of the floors before its own, and the first floor
itself; rooms of one floor do not import each other."""

HEAVY = (
    "langgraph",
    "boto3",
    "openai",
    "redis",
    "langchain_aws",
    "genai_prices",
    "numpy",
)


def room(module: str) -> str:
    """The room of a module, such as `accounting` or `demo` (for `demo_data` too)."""
    name = module.split(".")[1] if "." in module else ""
    rooms = [each for floor in FLOORS for each in floor]
    return next((r for r in rooms if name == r or name.startswith(f"{r}_")), name)


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, types aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "langchain_lean":
                yield from (home(alias.name) for alias in node.names)
            elif node.module.startswith("langchain_lean"):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (
                a.name for a in node.names if a.name.startswith("langchain_lean")
            )


def home(name: str) -> str:
    """The module a name of the front door lives in."""
    return f"langchain_lean.{langchain_lean._HOMES.get(name, name)}"


def modules() -> list[Path]:
    """Every module of the package but the front door."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or path.stem != "__init__"
    ]


@pytest.mark.parametrize(
    "path", modules(), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_arrows_between_rooms_point_down(path: Path) -> None:
    own = room(
        "langchain_lean."
        + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    )
    floors = {name: height for height, floor in enumerate(FLOORS) for name in floor}
    assert own in floors, f"{path.name} stands in no room"
    for module in imports(path):
        other = room(module)
        lower = floors[other] < floors[own]
        assert other == own or lower or floors[own] in (0, 5), f"{own} imports {other}"


def test_all_is_sorted_and_every_name_is_there() -> None:
    names = langchain_lean.__all__
    assert names == sorted(names)
    assert set(names) == set(langchain_lean._HOMES)
    for name in names:
        assert getattr(langchain_lean, name).__doc__
    assert set(names) <= set(dir(langchain_lean))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        langchain_lean.Nonsense  # noqa: B018 - the access is the point


def test_importing_the_ledger_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom langchain_lean import TokenLedger\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert found.strip() == "[]"


def test_no_module_reads_another_ones_private_names() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "langchain_lean"
            ):
                private = [a.name for a in node.names if a.name.startswith("_")]
                assert not private, f"{path.name} imports {private}"

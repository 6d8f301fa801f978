"""Folders and modules of the student import one way."""

import ast
from pathlib import Path

import student

PACKAGE = Path(student.__file__).parent
LAYERS = (
    "settings",
    "models",
    "asking",
    "results",
    "publishing",
    "training",
    "benchmarks",
    "page_data",
    "commands",
)
"""Each may import those before it."""


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def test_a_layer_imports_only_those_before_it() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py"]
    assert len(files) > 30
    for file in files:
        layer = LAYERS.index(file.relative_to(PACKAGE).with_suffix("").parts[0])
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("student."):
                assert layer_of(node.module or "") <= layer, f"{file} imports {node.module}"
            if isinstance(node, ast.ImportFrom) and node.module == "student":
                for alias in node.names:
                    assert LAYERS.index(alias.name) <= layer, f"{file} imports {alias.name}"

"""The layout is the architecture: packages import one way, and light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "regions": set[str](),
    "db": {"regions"},
    "blip2": {"regions"},
    "generation": {"regions", "db", "blip2", "lskd_console"},
    "critic": {"regions", "db", "blip2", "lskd_console"},
    "student": {"regions", "db", "blip2", "lskd_console"},
    "lskd_console": {"regions", "db"},
    "annotator": {"regions", "db", "generation", "critic", "student", "lskd_console"},
}


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    module = ROOT / f"{package}.py"
    files = [module] if module.exists() else list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imports(file) & {*MAY_IMPORT, "lskd", "lskd_cli"} - {package}
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {ours}"


def test_the_command_line_starts_without_torch_gradio_or_sqlalchemy() -> None:
    code = "import lskd_cli, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "click" in loaded
    assert not {"torch", "gradio", "sqlalchemy", "sklearn", "transformers", "numpy"} & set(loaded)

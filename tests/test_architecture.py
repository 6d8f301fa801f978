"""The layout is the architecture: packages import one way, and light modules stay light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
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

# The folders and modules of each package, each with those that it may import.
PARTS_MAY_IMPORT = {
    "regions": {
        "errors": "",
        "progress": "",
        "geometry": "",
        "references": "",
        "marks": "errors geometry",
        "view": "geometry marks references",
    },
    "blip2": {"training": "", "model": "training"},
    "db": {
        "schema": "",
        "migrations": "images schema",
        "store": "schema",
        "backup": "schema store",
        "images": "schema",
        "parallel": "store",
        "labelling": "schema store",
        "reading": "",
        "formats": "images labelling reading schema store",
        "transfer": "formats images labelling parallel reading schema store",
        "demo": "images labelling schema store",
    },
    "generation": {
        "settings": "",
        "prompts": "",
        "checks": "",
        "llm": "checks prompts settings",
        "tasks": "checks llm prompts settings",
        "runs": "checks llm settings tasks",
        "task_command": "runs settings tasks",
        "verbalize": "checks llm prompts settings task_command tasks",
        "page_data": "llm prompts runs tasks",
        "stored_tasks": "settings tasks verbalize",
        "commands": "runs settings stored_tasks task_command tasks",
    },
    "critic": {
        "settings": "",
        "protocol": "",
        "results": "",
        "features": "protocol",
        "thresholds": "results settings",
        "models": "features protocol settings thresholds",
        "training": "features models protocol results settings thresholds",
        "releases": "settings thresholds",
        "page_data": "results settings thresholds training",
        "commands": "models page_data releases results settings thresholds training",
    },
    "student": {
        "settings": "",
        "models": "settings",
        "asking": "models",
        "results": "asking",
        "publishing": "asking models results settings",
        "training": "asking models publishing results settings",
        "benchmarks": "asking models results training",
        "page_data": "benchmarks models results settings training",
        "commands": "asking benchmarks publishing results settings training",
    },
    "annotator": {
        "languages": "",
        "jobs": "",
        "canvas": "",
        "accounts": "languages",
        "crowd": "accounts",
        "labelling": "accounts crowd",
        "studies": "accounts crowd",
        "statistics": "crowd",
        "labels": "crowd labelling statistics",
        "pages": "accounts crowd jobs labelling web",
        "web": "accounts crowd jobs labelling labels languages pages statistics studies",
        "commands": "accounts crowd labelling labels statistics",
    },
}


def imported_names(file: Path) -> set[str]:
    """Dotted names of modules, and of what is imported from them, anywhere in a file."""
    tree = ast.parse(file.read_text("utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    return names | {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def imports(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_names(file)}


def part_imports(package: str) -> dict[str, set[str]]:
    """Which folders and modules directly in a package import which others."""
    folder = ROOT / package
    parts = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    graph: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        part = file.relative_to(folder).parts[0].removesuffix(".py")
        names = (name.split(".") for name in imported_names(file))
        used = {name[1] for name in names if name[0] == package and len(name) > 1}
        graph.setdefault(part, set()).update(used & parts - {part})
    return graph


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_packages_below_it(package: str) -> None:
    module = ROOT / f"{package}.py"
    files = [module] if module.exists() else list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imports(file) & {*MAY_IMPORT, "lskd", "lskd_cli"} - {package}
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("package", PARTS_MAY_IMPORT)
def test_a_part_of_a_package_imports_only_what_the_table_allows(package: str) -> None:
    allowed = PARTS_MAY_IMPORT[package]
    for part, used in part_imports(package).items():
        extra = used - set(allowed.get(part, "").split())
        assert not extra, f"{package}.{part} imports {extra}"


@pytest.mark.parametrize("package", ["regions", "db", "blip2", "generation", "critic", "student"])
def test_the_parts_of_a_package_import_one_way(package: str) -> None:
    TopologicalSorter(part_imports(package)).prepare()  # CycleError for a circle


def test_what_generates_does_not_import_describers() -> None:
    graph = part_imports("generation")
    assert "tasks" in graph["runs"]
    for part in ("llm", "prompts", "checks", "tasks", "runs"):
        assert not graph[part] & {"verbalize", "commands", "page_data"}


def test_the_command_line_starts_without_torch_gradio_or_sqlalchemy() -> None:
    code = "import lskd_cli, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "click" in loaded
    assert not {"torch", "gradio", "sqlalchemy", "sklearn", "transformers", "numpy"} & set(loaded)

"""The entry point: make sure that the packages are this program's own, then run the command line.

Our top-level names (`regions`, `critic`, ...) are ordinary words. A file `critic.py` in the working
folder, or a distribution named `regions` in the same environment, would be imported instead.
"""

import base64
import hashlib
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("annotator", "blip2", "critic", "db", "generation", "regions", "student")
MODULES = ("lskd_cli", "lskd_console")
_HOME = Path(__file__).resolve().parent


def main() -> None:
    """Run the command line; one sentence and exit code 2 if a package is not ours."""
    problem = foreign_module()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    from lskd_cli import cli

    cli()


def foreign_module() -> str | None:
    """Say which of our modules Python would import from elsewhere, and what to do; None if none."""
    for name in (*PACKAGES, *MODULES):
        spec = importlib.util.find_spec(name)
        ours = _HOME / name / "__init__.py" if name in PACKAGES else _HOME / f"{name}.py"
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin != ours:
            return (
                f"Python finds {name!r} at {origin or 'no place'}, which is not part of LSKD Studio"
                f" ({_HOME}): run lskd from another folder, or install it in an environment of its"
                " own with `pipx install` or `uv tool install`"
            )
    overwritten = _overwritten()
    if overwritten:
        return (
            f"another package has replaced {overwritten} of LSKD Studio: install LSKD Studio in an"
            " environment of its own with `pipx install` or `uv tool install`"
        )
    return None


def _overwritten() -> str | None:
    """The first of our packages whose file is not the installed one, by the wheel's checksums."""
    try:
        files = metadata.distribution("lskd-studio").files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if len(file.parts) == 2 and file.parts[0] in PACKAGES and file.name == "__init__.py":  # noqa: PLR2004 - package and file
            digest = hashlib.sha256(file.read_binary()).digest()
            found = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if file.hash and file.hash.value != found:
                return file.parts[0]
    return None


if __name__ == "__main__":
    main()

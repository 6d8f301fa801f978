"""The entry point: check that Python finds this program's own packages, then run the command line.

The names of our packages (`regions`, `critic`, ...) are common words. A file `critic.py` in the
working folder, or another distribution in the same environment, could be imported instead.
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
    """Run the command line; print one sentence and exit with code 2 if a package is not ours."""
    problem = foreign_module()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    from lskd_cli import cli

    cli()


def foreign_module() -> str | None:
    """Return which of our modules Python finds elsewhere, and what to do about it; None if none."""
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
    if overwritten := _overwritten():
        return (
            f"another package has replaced {overwritten} of LSKD Studio: install LSKD Studio in an"
            " environment of its own with `pipx install` or `uv tool install`"
        )
    return None


def _overwritten() -> str | None:
    """Return the first of our packages whose file differs from the wheel's checksum."""
    try:
        files = metadata.distribution("lskd-studio").files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if len(file.parts) == 2 and file.parts[0] in PACKAGES and file.name == "__init__.py":  # noqa: PLR2004 - package and file
            digest = hashlib.sha256(file.read_binary()).digest()
            actual = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if file.hash and file.hash.value != actual:
                return file.parts[0]
    return None


if __name__ == "__main__":
    main()

"""Static types of the package, checked by mypy.

    python -m tests.tools.typecheck [--write]

prints the errors of every room that has more of them than `tests/data/type_errors.yaml` allows, and
fails then. A room that is not in that file has none. `--write` states the present numbers there,
after errors were removed.

The package is put together from folders of the checkout, which setuptools understands and mypy does
not: so the tool links these folders into one, as they will be installed.
"""

from __future__ import annotations

import collections
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.tools.rooms import NAME, PACKAGES, ROOT, is_test, module, room

ALLOWED = ROOT / "tests" / "data" / "type_errors.yaml"
HEADER = """\
# Errors that mypy still finds in a room; rooms that are not here have none.
# Written by `python -m tests.tools.typecheck --write`: numbers here only ever fall.
"""


def link_packages(folder: Path, root: Path = ROOT) -> None:
    """Make `folder` hold the package as it will be installed, as links into the checkout."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inside = [path for path in (root / NAME).iterdir() if path.name != "__pycache__"]
    for target in (*inside, *(root / name for name in PACKAGES if name != NAME)):
        (folder / target.name).symlink_to(target)


def errors(root: Path = ROOT) -> list[str]:
    """The lines of mypy's errors in the package, with file names from the root; tests left out.

    Raises
    ------
    RuntimeError
        mypy could not check the package.
    """
    folder = root / "build" / "types"
    link_packages(folder / NAME, root)
    config = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", "cache"]
    command = [sys.executable, "-m", "mypy", *config, "-p", NAME]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(f"mypy failed: {done.stderr or done.stdout}")
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    lines = [_from_root(line) for line in lines]
    return [line for line in lines if not is_test(Path(line.partition(":")[0]))]


def _from_root(line: str) -> str:
    """A line of mypy's with the file's place in the checkout: only NAME itself is where it says."""
    bare = line.removeprefix(f"{NAME}/")
    return bare if bare.split("/")[0] in PACKAGES else line


def home(path: Path) -> str:
    """The room of a file; rooms of `arch` are its modules, which count together."""
    name = module(path)
    return name.split(".")[0] if path.parts[0] in ("arch", "console", NAME) else room(name)


def by_room(lines: list[str]) -> dict[str, list[str]]:
    """The errors of each room that has any."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for line in lines:
        found[home(Path(line.partition(":")[0]))].append(line)
    return dict(sorted(found.items()))


def complaints(found: Mapping[str, list[str]], allowed: Mapping[str, int]) -> list[str]:
    """What is wrong, in lines: rooms with more errors than allowed, and numbers that may fall."""
    wrong = []
    for name in sorted({*found, *allowed}):
        lines, most = found.get(name, []), allowed.get(name, 0)
        if len(lines) > most:
            wrong += [*lines, f"{name}: {len(lines)} errors of types, at most {most} are allowed"]
        elif len(lines) < most:
            wrong.append(
                f"{name}: {len(lines)} errors of types, where {most} were: lower that number by "
                "python -m tests.tools.typecheck --write"
            )
    return wrong


def read_allowed(path: Path = ALLOWED) -> dict[str, int]:
    """Errors that each room may have."""
    return yaml.safe_load(path.read_text()) or {}


def main() -> int:
    """Check, or write down how many errors there are."""
    found = by_room(errors())
    if sys.argv[1:] == ["--write"]:
        counts = "".join(f"{name}: {len(lines)}\n" for name, lines in found.items())
        ALLOWED.write_text(HEADER + counts)
        return 0
    wrong = complaints(found, read_allowed())
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""The rooms of the source tree and the import arrows between them.

    python -m tests.tools.rooms

prints, for each package, how many distinct arrows run between its rooms, how many between its
files, and the largest number of modules in one folder. A room is a folder directly below a package,
or a module that stands in the package itself; an arrow from A to B means that some module of A
imports some module of B, at any depth of its code. Tests are no rooms.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("arch", "console", "hw", "sim", "energy_model", "tritloom")
NAME = "tritloom"


def is_test(path: Path) -> bool:
    """Whether a file, by its path from the root, holds tests."""
    return path.parts[0] == "tests" or path.name.startswith("test_") or path.name == "conftest.py"


def sources(root: Path = ROOT) -> list[Path]:
    """Python files of the packages without their tests, by their paths from the root."""
    found = (path.relative_to(root) for name in PACKAGES for path in (root / name).rglob("*.py"))
    return sorted(path for path in found if not is_test(path))


def module(path: Path) -> str:
    """Dotted name of a file without the package's own: hw/core/core.py is hw.core.core."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted module, whether at top level) of each import of a file.

    Relative imports are resolved, and the leading `tritloom.` of our own modules is dropped. The
    names of `from X import a, b` come as X.a and X.b, since they may be modules.
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    late = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # Relative to the package that holds the file, one level up for each further dot.
            base = path.parts[: len(path.parts) - node.level] if node.level else ()
            start = ".".join([*base, *filter(None, [node.module])])
            modules = [f"{start}.{alias.name}" if start else alias.name for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(modules):
            yield node.lineno, name.removeprefix(f"{NAME}."), id(node) not in late


def graph(files: dict[Path, str]) -> dict[str, set[str]]:
    """Imports among these files, from module to modules; names inside a module count as it."""
    known = {module(path) for path in files}
    arrows: dict[str, set[str]] = {}
    for path, source in files.items():
        arrows[module(path)] = targets = set()
        for _, name, _ in imported(ast.parse(source), path):
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name and name != module(path):
                targets.add(name)
    return arrows


def room(name: str) -> str:
    """The room of a module: its package and the folder or module directly below."""
    return ".".join(name.split(".")[:2])


def arrows_between_rooms(imports: dict[str, set[str]], package: str) -> set[tuple[str, str]]:
    """Distinct (room, room) pairs inside a package."""
    return {
        (room(source), room(target))
        for source, targets in imports.items()
        for target in targets
        if source.split(".")[0] == target.split(".")[0] == package and room(source) != room(target)
    }


def main() -> None:
    """Print the counts of each package."""
    files = {path: (ROOT / path).read_text() for path in sources()}
    imports = graph(files)
    print(f"{'package':14}{'rooms':>7}{'arrows':>8}{'between files':>15}{'largest folder':>16}")
    for package in PACKAGES:
        inside = [name for name in imports if name.split(".")[0] == package]
        between = sum(
            target.split(".")[0] == package for name in inside for target in imports[name]
        )
        folders = [path.parent for path in files if path.parts[0] == package]
        largest = max(folders.count(folder) for folder in set(folders))
        rooms = {room(name) for name in inside}
        count = len(arrows_between_rooms(imports, package))
        print(f"{package:14}{len(rooms):7}{count:8}{between:15}{largest:16}")


if __name__ == "__main__":
    main()

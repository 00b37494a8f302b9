"""Imports point one way. Walks every source file, and the walk itself is tried on wrong files."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each package of ours, and those of ours that it may import besides itself.
ALLOWED = {
    "arch": set(),
    "hw": {"arch"},
    "sim.golden": {"arch"},
    "sim": {"arch", "hw", "sim.golden"},
    "energy_model": {"arch"},
}
OURS = {"arch", "hw", "sim", "energy_model", "tests"}


def package_of(module):
    """The package of ours that a dotted module belongs to, or None."""
    if module.split(".")[0] not in OURS:
        return None
    return "sim.golden" if (module + ".").startswith("sim.golden.") else module.split(".")[0]


def is_test(path):
    return path.parts[0] == "tests" or path.name.startswith("test_") or path.name == "conftest.py"


def imported(tree, path):
    """(line, dotted module, whether at top level) of each import, relative ones resolved."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    late = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # Relative to the package that holds the file, one level up for each further dot.
            base = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            # `from sim import golden` reaches a package of ours through the name.
            modules = [
                f"{module}.{alias.name}" if module in OURS else module for alias in node.names
            ]
        else:
            continue
        for module in dict.fromkeys(modules):
            yield node.lineno, module, id(node) not in late


def wrong_imports(source, path):
    """A line for each import in the file that points the wrong way; `path` is from the root."""
    if is_test(path):
        return []
    home = package_of(".".join(path.with_suffix("").parts))
    wrong = []
    for line, module, top_level in imported(ast.parse(source), path):
        target, root = package_of(module), module.split(".")[0]
        if target is None:
            foreign = root not in sys.stdlib_module_names
            if home == "arch" and foreign and root != "numpy":
                wrong.append(f"{path}:{line}: arch may import only NumPy, not {module}")
            if home == "energy_model" and root == "matplotlib" and top_level:
                wrong.append(f"{path}:{line}: matplotlib is imported where a plot is drawn")
        elif target != home and target not in ALLOWED[home]:
            wrong.append(f"{path}:{line}: {home} may not import {target} ({module})")
    return wrong


def sources():
    return sorted(path.relative_to(ROOT) for name in OURS for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_point_the_right_way(path):
    assert wrong_imports((ROOT / path).read_text(), path) == []


def require_no_circle(files):
    """Raises CycleError where modules, by path from the root, import each other."""
    graph = {
        ".".join(path.with_suffix("").parts): {
            module for _, module, _ in imported(ast.parse(source), path)
        }
        for path, source in files.items()
    }
    TopologicalSorter(graph).prepare()


def test_imports_go_in_no_circle():
    require_no_circle({path: (ROOT / path).read_text() for path in sources() if not is_test(path)})


@pytest.mark.parametrize("back", ["from hw import a", "def f():\n    from .a import x"])
def test_planted_circle_is_caught(back):
    sources = {"hw/a.py": "from . import b", "hw/b.py": "from .c import x", "hw/c.py": back}
    with pytest.raises(CycleError, match=r"hw\.a"):
        require_no_circle({Path(path): source for path, source in sources.items()})


def test_every_package_is_walked():
    walked = {package_of(".".join(path.with_suffix("").parts)) for path in sources()}
    assert walked == {*ALLOWED, "tests"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("arch/config.py", "import hw"),
        ("arch/config.py", "import os, sim.golden.linear"),
        ("arch/config.py", "from energy_model.costs import COSTS"),
        ("arch/config.py", "from ..hw import array"),
        ("arch/config.py", "import yaml"),
        ("arch/config.py", "from amaranth import hdl"),
        ("arch/config.py", "def f():\n    import rich"),
        ("arch/deep/er.py", "from ...hw import array"),
        ("hw/array.py", "import sim"),
        ("hw/array.py", "from sim.golden import linear"),
        ("hw/array.py", "from energy_model import costs"),
        ("hw/array.py", "def f():\n    from tests import helpers"),
        ("sim/golden/array.py", "import hw.array"),
        ("sim/golden/array.py", "from hw import array"),
        ("sim/golden/array.py", "from ...hw import array"),
        ("sim/golden/array.py", "from .. import weights"),
        ("sim/golden/array.py", "from ..weights import load_matrix"),
        ("sim/golden/array.py", "if True:\n    import sim.weights"),
        ("sim/golden/__init__.py", "from .. import weights"),
        ("sim/layer.py", "import energy_model"),
        ("sim/layer.py", "from energy_model.costs import COSTS"),
        ("sim/golden_but_not.py", "import energy_model"),
        ("energy_model/report.py", "import sim"),
        ("energy_model/report.py", "from hw import array"),
        ("energy_model/report.py", "from sim import golden"),
        ("energy_model/plot.py", "import matplotlib.pyplot as plt"),
        ("energy_model/plot.py", "from matplotlib import pyplot"),
        ("energy_model/plot.py", "try:\n    import matplotlib\nexcept ImportError:\n    pass"),
    ],
)
def test_planted_wrong_import_is_caught(path, source):
    (line,) = wrong_imports(source, Path(path))
    assert line.startswith(f"{path}:{1 + source.count(chr(10), 0, source.index('import'))}: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("arch/config.py", "from __future__ import annotations\nimport math\nimport numpy as np"),
        (
            "arch/config.py",
            "from .errors import InputError\nfrom . import timing\nimport arch.counts",
        ),
        ("hw/array.py", "from arch.config import preset\nfrom amaranth.lib import wiring"),
        ("sim/golden/linear.py", "from arch import ternary\nfrom .quantise import Quantised"),
        ("sim/layer.py", "from .golden.linear import ternary_gemm\nimport hw.array, arch"),
        ("sim/layer.py", "from sim import golden\nfrom . import golden, weights"),
        ("energy_model/plot.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("energy_model/plot.py", "import yaml\nfrom arch import counts"),
        ("tests/test_x.py", "import hw, sim, energy_model, arch"),
        ("sim/test_array.py", "import energy_model"),
        ("sim/conftest.py", "import energy_model"),
        ("hw/array.py", "import simulator, hwlib"),
    ],
)
def test_right_import_is_let_through(path, source):
    assert wrong_imports(source, Path(path)) == []

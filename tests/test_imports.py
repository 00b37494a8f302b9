"""Imports point down: from room to room, from floor to floor, and in no circle.

The walk itself is tried on wrong files.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.tools.rooms import (
    NAME,
    PACKAGES,
    ROOT,
    arrows_between_rooms,
    graph,
    imported,
    is_test,
    module,
    room,
    sources,
)

# Rooms from the ground up. A room may import rooms on lower floors only; those of one floor do not
# know each other. Rooms of `arch` are its modules, held only to go in no circle.
FLOORS = (
    {"arch"},
    {"console"},
    {"hw.parts", "hw.yosys", "hw.lint", "hw.names", "hw.svd", "sim.golden", "energy_model.costs"},
    {"hw.array", "hw.emit", "energy_model.published", "sim.verilator"},
    {"hw.core", "hw.baselines", "energy_model.machine", "energy_model.picture"},
    {"hw.board", "energy_model.options"},
    {"hw.verilog", "energy_model.trace", "energy_model.report", "energy_model.compare"},
    {"hw.options", "hw.cells", "energy_model.papers", "energy_model.validate"},
    {"hw.fpga", "hw.command", "energy_model.sweep", "sim.options"},
    {"hw.__main__", "sim.energy"},
    {"energy_model.__main__", "sim.checkpoints"},
    {"sim.run", "sim.power"},
    {"sim.bench"},
    {"sim.prove", "sim.faults", "sim.coverage", "sim.figures"},
    {"sim.__main__"},
    {"tritloom"},
)
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}
# Besides itself, what a package may import.
ALLOWED = {
    "arch": set(),
    "console": {"arch"},
    "hw": {"arch", "console"},
    "energy_model": {"arch", "console"},
    "sim": {"arch", "console", "hw"},
    "tritloom": {"arch", "console", "hw", "energy_model", "sim"},
}
# The only module of a package that may import another one beside those.
DOORS = {"sim.energy": "energy_model"}
# Arrows between rooms at most.
ARROWS = {"hw": 30, "sim": 30, "energy_model": 40}
# Modules in one folder at most; the contract in arch is a list of nouns.
LARGEST = {"arch": 17}


def home(name):
    """The room that stands on a floor: a package without rooms, or a room of one with."""
    package = name.split(".")[0]
    return package if package in ("arch", "console", "tritloom") else room(name)


def wrong_imports(source, path):
    """A line for each import in the file that points the wrong way; `path` is from the root."""
    if is_test(path):
        return []
    name = module(path)
    package, wrong = name.split(".")[0], []
    for line, target, top_level in imported(ast.parse(source), path):
        root = target.split(".")[0]
        if root == "tests":
            wrong.append(f"{path}:{line}: {package} may not import tests ({target})")
        elif root not in PACKAGES:
            foreign = root not in sys.stdlib_module_names
            if package == "arch" and foreign and root != "numpy":
                wrong.append(f"{path}:{line}: arch may import only NumPy, not {target}")
            if package == "energy_model" and root == "matplotlib" and top_level:
                wrong.append(f"{path}:{line}: matplotlib is imported where a plot is drawn")
        elif root != package and root not in ALLOWED[package] and DOORS.get(name) != root:
            wrong.append(f"{path}:{line}: {package} may not import {root} ({target})")
        elif name.startswith("sim.golden") and not target.startswith(("arch", "sim.golden")):
            wrong.append(f"{path}:{line}: sim.golden may import only arch ({target})")
    return wrong


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_point_the_right_way(path):
    assert wrong_imports((ROOT / path).read_text(), path) == []


def bare_imports(source, path):
    """Lines that import a package of ours without `tritloom.`, hence under a second name."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name.split(".")[0] in PACKAGES and name.split(".")[0] != NAME
    ]


EVERY_FILE = sorted(
    path.relative_to(ROOT)
    for name in (*PACKAGES, "tests", "docs", "examples")
    for path in (ROOT / name).rglob("*.py")
)


@pytest.mark.parametrize("path", EVERY_FILE, ids=str)
def test_our_packages_are_imported_under_one_name(path):
    assert bare_imports((ROOT / path).read_text(), path) == []


def test_planted_import_under_a_second_name_is_caught():
    source = (
        "import arch\nfrom hw.core import core\nfrom tritloom.hw import yosys\nfrom . import sim"
    )
    assert bare_imports(source, Path("x.py")) == [1, 2]


@pytest.fixture(scope="module")
def imports():
    return graph({path: (ROOT / path).read_text() for path in sources()})


def going_up(imports):
    """(room, room) of each import that does not go down to a lower floor."""
    pairs = {
        (home(source), home(target)) for source, targets in imports.items() for target in targets
    }
    return sorted((a, b) for a, b in pairs if a != b and FLOOR[a] <= FLOOR[b])


def test_rooms_import_lower_floors_only(imports):
    # An empty __init__.py is no room.
    known = {name: targets for name, targets in imports.items() if name not in FLOORLESS}
    assert going_up(known) == []


FLOORLESS = {"hw", "sim", "energy_model"}


def test_every_room_has_a_floor_and_every_floor_its_rooms(imports):
    assert {home(name) for name in imports if name not in FLOORLESS} == set(FLOOR)


def test_planted_import_up_is_caught():
    files = {
        Path("sim/run/layer.py"): "from tritloom.sim.bench import runner",
        Path("sim/bench/runner.py"): "from tritloom.sim.run import layer",
    }
    assert going_up(graph(files)) == [("sim.run", "sim.bench")]


@pytest.mark.parametrize("package", ARROWS)
def test_rooms_have_few_arrows(package, imports):
    assert len(arrows_between_rooms(imports, package)) <= ARROWS[package]


def test_folders_are_small():
    folders = [path.parent for path in sources() if path.name != "__init__.py"]
    sizes = {str(folder): folders.count(folder) for folder in folders}
    assert {name: n for name, n in sizes.items() if n > LARGEST.get(name, 15)} == {}


def require_no_circle(files):
    """Raises CycleError where modules, by path from the root, import each other."""
    TopologicalSorter(graph(files)).prepare()


def test_imports_go_in_no_circle():
    require_no_circle({path: (ROOT / path).read_text() for path in sources()})


@pytest.mark.parametrize("back", ["from tritloom.hw import a", "def f():\n    from .a import x"])
def test_planted_circle_is_caught(back):
    files = {"hw/a.py": "from . import b", "hw/b.py": "from .c import x", "hw/c.py": back}
    with pytest.raises(CycleError, match=r"hw\.a"):
        require_no_circle({Path(path): source for path, source in files.items()})


def test_every_package_is_walked():
    assert {path.parts[0] for path in sources()} == set(PACKAGES) == set(ALLOWED)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("arch/config.py", "import tritloom.hw"),
        ("arch/config.py", "import os, tritloom.sim.golden.linear"),
        ("arch/config.py", "from tritloom.energy_model.costs.table import COSTS"),
        ("arch/config.py", "from ..hw import array"),
        ("arch/config.py", "import yaml"),
        ("arch/config.py", "from amaranth import hdl"),
        ("arch/config.py", "def f():\n    import rich"),
        ("arch/deep/er.py", "from ...hw import array"),
        ("console/sheet.py", "from tritloom.hw import verilog"),
        ("hw/array/pe.py", "import tritloom.sim"),
        ("hw/array/pe.py", "from tritloom.sim.golden import linear"),
        ("hw/array/pe.py", "from tritloom.energy_model import costs"),
        ("hw/array/pe.py", "def f():\n    from tests import helpers"),
        ("sim/golden/core.py", "import tritloom.hw.array"),
        ("sim/golden/core.py", "from tritloom.hw import array"),
        ("sim/golden/core.py", "from ...hw import array"),
        ("sim/golden/core.py", "from .. import verilator"),
        ("sim/golden/core.py", "from ..checkpoints.matrix import load_matrix"),
        ("sim/golden/core.py", "if True:\n    import tritloom.sim.verilator"),
        ("sim/golden/__init__.py", "from .. import verilator"),
        ("sim/run/layer.py", "import tritloom.energy_model"),
        ("sim/run/layer.py", "from tritloom.energy_model.costs import table"),
        ("sim/golden_but_not.py", "import tritloom.energy_model"),
        ("sim/run/energy.py", "from tritloom.energy_model.costs.table import price"),
        ("sim/power/energy.py", "def f():\n    import tritloom.energy_model"),
        ("sim/energy/table.py", "from tritloom.energy_model.costs import table"),
        ("hw/energy.py", "import tritloom.energy_model"),
        ("sim/energy.py", "from tests import helpers"),
        ("energy_model/report/report.py", "import tritloom.sim"),
        ("energy_model/report/report.py", "from tritloom.hw import verilog"),
        ("energy_model/report/report.py", "from tritloom.sim import golden"),
        ("energy_model/report/plot.py", "import matplotlib.pyplot as plt"),
        ("energy_model/report/plot.py", "from matplotlib import pyplot"),
        (
            "energy_model/report/plot.py",
            "try:\n    import matplotlib\nexcept ImportError:\n    pass",
        ),
    ],
)
def test_planted_wrong_import_is_caught(path, source):
    (line,) = wrong_imports(source, Path(path))
    assert line.startswith(f"{path}:{1 + source.count(chr(10), 0, source.index('import'))}: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("arch/config.py", "from __future__ import annotations\nimport math\nimport numpy as np"),
        ("arch/config.py", "from .errors import InputError\nfrom . import timing"),
        (
            "hw/array/pe.py",
            "from tritloom.arch.config import preset\nfrom amaranth.lib import wiring",
        ),
        ("sim/golden/linear.py", "from tritloom.arch import ternary\nfrom .quantise import x"),
        ("sim/energy.py", "from tritloom.energy_model.costs.table import price"),
        ("sim/run/layer.py", "from ..energy import show_energy"),
        ("sim/run/layer.py", "from ..golden.linear import ternary_gemm\nimport tritloom.hw.array"),
        ("energy_model/report/plot.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("energy_model/report/plot.py", "import yaml\nfrom tritloom.arch import counts"),
        ("tests/test_x.py", "import tritloom.hw, tritloom.sim"),
        ("sim/bench/test_array.py", "import tritloom.energy_model"),
        ("sim/conftest.py", "import tritloom.energy_model"),
        ("hw/array/pe.py", "import simulator, hwlib"),
    ],
)
def test_right_import_is_let_through(path, source):
    assert wrong_imports(source, Path(path)) == []

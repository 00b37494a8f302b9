"""The public face: `tritloom.NAME` resolves, is documented, and costs nothing before it is used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tritloom
from tests.tools.docstrings import fault

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/api.md").read_text()


@pytest.mark.parametrize("name", tritloom.__all__)
def test_public_name_is_that_of_its_home(name):
    home = sys.modules[tritloom._HOME[name]] if getattr(tritloom, name) is not None else None
    assert getattr(tritloom, name) is getattr(home, name)


@pytest.mark.parametrize("name", tritloom.__all__)
def test_public_name_is_documented_where_it_is_made(name):
    value = getattr(tritloom, name)
    if callable(value):
        assert fault(inspect.getdoc(value)) is None
    else:
        assert not inspect.ismodule(value)


@pytest.mark.parametrize("name", tritloom.__all__)
def test_public_name_is_used_on_its_page(name):
    prompts = [line for line in PAGE.splitlines() if line.startswith((">>> ", "... "))]
    assert any(f"tritloom.{name}" in line for line in prompts)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'tritloom' has no attribute 'multiplier'$"):
        tritloom.multiplier  # noqa: B018


def test_dir_lists_every_public_name():
    assert set(tritloom.__all__) <= set(dir(tritloom))


def test_import_loads_nothing_heavy_and_a_name_loads_its_home():
    program = (
        "import sys, tritloom\n"
        "print(*sorted(m for m in sys.modules if m.startswith('tritloom.')))\n"
        "print(*({'numpy', 'amaranth', 'rich', 'yaml'} & set(sys.modules)))\n"
        "tritloom.Gemm\n"
        "print(*sorted(m for m in sys.modules if m.startswith('tritloom.')))\n"
        "print(*({'amaranth', 'rich', 'yaml'} & set(sys.modules)))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines() == [
        "",
        "",
        "tritloom.arch tritloom.arch.errors tritloom.arch.workload",
        "",
    ]


def test_a_type_checker_sees_the_same_names():
    tree = ast.parse((ROOT / "tritloom/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == tritloom._HOME
    # `as` makes a name public for it.
    assert all(alias.asname == alias.name for node in block.body for alias in node.names)

"""The public face: `tritloom.NAME` resolves, is documented, and costs nothing before it is used."""

import ast
import inspect
import re
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
        "print(*({'numpy', 'amaranth', 'rich', 'yaml'} & set(sys.modules)))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, heavy, after, heavy_after = printed.stdout.splitlines()
    assert (before, heavy, heavy_after) == ("", "", "")
    assert "tritloom.arch.workload" in after.split()
    assert all(name.startswith("tritloom.arch") for name in after.split())


def test_a_type_checker_sees_the_same_names():
    tree = ast.parse((ROOT / "tritloom/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == tritloom._HOME
    # `as` makes a name public for it.
    assert all(alias.asname == alias.name for node in block.body for alias in node.names)


def undocumented(value):
    """Parameters of a function or class without an entry in its docstring, and missing sections."""
    text = inspect.getdoc(value)
    heading = "Attributes" if inspect.isclass(value) else "Parameters"
    sections = re.split(r"\n\n(\w+)\n-+\n", text)
    named = dict(zip(sections[1::2], sections[2::2], strict=True))
    entries = re.findall(r"^(\w[\w, ]*)(?: : .*)?$", named.get(heading, ""), re.MULTILINE)
    known = {name for entry in entries for name in entry.split(", ")}
    lacking = [name for name in inspect.signature(value).parameters if name not in known]
    return lacking + [
        section for section in ("Returns",) if not inspect.isclass(value) and section not in named
    ]


@pytest.mark.parametrize("name", tritloom.__all__)
def test_public_name_documents_each_parameter_and_what_it_returns(name):
    value = getattr(tritloom, name)
    assert not callable(value) or undocumented(value) == []


def test_planted_parameter_without_a_word_is_found():
    def cycles(plan, packing):
        """Cycles of a run.

        Parameters
        ----------
        plan : Plan
            Of packing : any kind.
        """

    assert undocumented(cycles) == ["packing", "Returns"]

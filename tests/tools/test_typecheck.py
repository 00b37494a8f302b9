"""Static types: no room has more errors than it had, and what counts them can fail."""

from pathlib import Path

import pytest

from tests.tools.typecheck import by_room, complaints, errors, link_packages, read_allowed


@pytest.mark.slow
def test_no_room_has_more_errors_of_types_than_before():
    assert complaints(by_room(errors()), read_allowed()) == []


@pytest.mark.parametrize(
    "clean",
    [
        "arch",
        "console",
        *("energy_model.costs", "energy_model.machine", "energy_model.published"),
        *("energy_model.compare", "energy_model.papers", "energy_model.sweep"),
        *("energy_model.trace", "energy_model.validate"),
    ],
)
def test_clean_rooms_stay_clean(clean):
    assert clean not in read_allowed()


def test_more_errors_are_shown_and_fewer_ask_for_a_lower_number():
    found = {"a": ["a/x.py:1: error: one", "a/x.py:2: error: two"], "b": ["b/y.py:1: error: one"]}
    assert complaints(found, {"a": 2, "b": 1}) == []
    assert complaints(found, {"a": 1, "b": 1}) == [
        *found["a"],
        "a: 2 errors of types, at most 1 are allowed",
    ]
    (lower,) = complaints(found, {"a": 2, "b": 1, "c": 3})
    assert lower.startswith("c: 0 errors of types, where 3 were: lower that number by ")


def test_errors_are_counted_by_room():
    lines = ["arch/config.py:1: error: x", "hw/array/pe.py:2: error: y", "hw/emit.py:3: error: z"]
    assert by_room(lines) == {"arch": lines[:1], "hw.array": lines[1:2], "hw.emit": lines[2:]}


@pytest.mark.slow
def test_planted_error_is_found(tmp_path):
    for name, source in {
        "pyproject.toml": "[tool.mypy]\ncheck_untyped_defs = true\n",
        "tritloom/__init__.py": "",
        "arch/__init__.py": "",
        "arch/width.py": "def bits() -> int:\n    return 8\n",
        "hw/__init__.py": "",
        "hw/port.py": "from tritloom.arch.width import bits\n\nname: str = bits()\n",
        "hw/test_port.py": "name: str = 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    for name in ("console", "sim", "energy_model"):
        (tmp_path / name).mkdir()
    (line,) = errors(tmp_path)
    assert line.startswith("hw/port.py:3: error: Incompatible types in assignment")


def test_package_is_linked_as_it_will_be_installed(tmp_path):
    link_packages(tmp_path / "tritloom")
    link_packages(tmp_path / "tritloom")
    names = {path.name for path in (tmp_path / "tritloom").iterdir()}
    assert {"__init__.py", "py.typed", "arch", "energy_model"} <= names
    assert (tmp_path / "tritloom" / "arch" / "config.py").samefile(
        Path(__file__).parents[2] / "arch" / "config.py"
    )

"""Liberty: a library of round numbers, cut, damaged and split; tables, models, exclusions."""

import gzip
import random
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch.errors import InputError
from tritloom.hw.cells import liberty
from tritloom.hw.cells.internal_energy import internal_energy

MINI = Path(__file__).parents[1] / "data" / "mini.lib"


@pytest.fixture(scope="module")
def library():
    return liberty.read([MINI])


def test_cells_have_what_the_file_says(library):
    inverter, flip_flop = library.cells["INVx1"], library.cells["DFFHQNx1"]
    assert (library.voltage_v, library.temperature_c, library.has_power) == (1.0, 25.0, True)
    assert (inverter.area_um2, inverter.leakage_pw, inverter.kind) == (1, 10, "logic")
    assert (inverter.inputs, inverter.outputs) == (["A"], ["Y"])
    assert (flip_flop.kind, flip_flop.inverting) == ("flip-flop", True)
    assert library.cells["ICGx1"].kind == "clock gate"
    assert [arc.inputs for arc in inverter.arcs] == [(1, 0)]


def test_table_is_a_plane_between_its_points_and_beyond(library):
    (arc,) = library.cells["INVx1"].arcs
    slews, loads = np.array([0.0, 50.0, 100.0, 200.0]), np.array([0.0, 5.0, 10.0, 20.0])
    # 10 ps, 2 ps for each fF, 0.1 ps for each ps of slew.
    assert arc.delays[0].at(slews, loads) == pytest.approx(10 + 2 * loads + 0.1 * slews)


@pytest.mark.parametrize("cell", ["INVx1", "BUFx1", "NAND2x1", "OAI22x1", "FAx1"])
def test_model_computes_the_function(library, cell):
    wanted = {
        "INVx1": lambda a: (not a,),
        "BUFx1": lambda a: (a,),
        "NAND2x1": lambda a, b: (not (a and b),),
        "OAI22x1": lambda a, b, c, d: (not ((a or b) and (c or d)),),
        "FAx1": lambda a, b, c: (a + b + c < 2, (a + b + c) % 2 == 0),
    }[cell]
    pins = library.cells[cell].pins
    for bits in product((0, 1), repeat=len(library.cells[cell].inputs)):
        names = dict(zip(library.cells[cell].inputs, bits, strict=True))
        found = [eval(pin.function, {}, names) & 1 for pin in pins.values() if pin.output]
        assert found == [int(value) for value in wanted(*bits)]


def test_several_files_and_gzipped_ones_are_one_library(library, tmp_path):
    text = MINI.read_text()
    start = text.index("  cell (FAx1)")
    end = text.index("  cell (DFFHQNx1)")
    rest, adder = tmp_path / "rest.lib", tmp_path / "adder.lib.gz"
    rest.write_text(text[:start] + text[end:])
    head = text[: text.index("  cell (")]
    adder.write_bytes(gzip.compress((head + text[start:end] + "}\n").encode()))
    assert liberty.read([rest, adder]).cells.keys() == library.cells.keys()


def test_cells_are_left_out_by_pattern():
    assert "NAND2x1" not in liberty.read([MINI], without=["NAND*"]).cells


def test_smallest_cell_that_fits_is_found(library):
    assert library.find("*").name == "INVx1"
    with pytest.raises(InputError, match=r"^the library has no cell XOR\*$"):
        library.find("XOR*")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"1ps"', '"1ns"'), "time_unit must be 1ps, not 1ns"),
        (lambda text: text.replace("nom_voltage : 1.0;", ""), "does not state nom_voltage"),
        (lambda text: text[: text.index("cell (")], "is no Liberty file with cells"),
        (lambda text: text + text[text.index("  cell (INV") :], "has cell INVx1 again"),
        (lambda text: "# a page", "is no Liberty file with cells"),
        (
            lambda text: text.replace("nom_voltage : 1.0;", "nom_voltage : x;"),
            "does not state nom_v",
        ),
        (lambda text: text.replace("cell (INVx1)", "cell ()"), "has a cell without a name"),
        (lambda text: text.replace("cell (INVx1)", "cell (INVx1"), "parentheses do not match"),
        (lambda text: text.replace("area : 1;", "area : x;", 1), "cell INVx1 cannot be parsed: "),
        (
            lambda text: text.replace("cell_rise (delay) { values", "cell_rise (delay) { value"),
            "has no values",
        ),
    ],
)
def test_damage_is_named_in_a_line(change, message, tmp_path):
    file = tmp_path / "bad.lib"
    file.write_text(change(MINI.read_text()))
    with pytest.raises(InputError, match=message) as raised:
        liberty.read([file])
    assert "\n" not in str(raised.value)
    assert str(file) in str(raised.value)


def refusal(file):
    """What is said of a library that is refused; nothing of one that is read."""
    try:
        library = liberty.read([file])
        internal_energy(library, library.cells)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(80))
def test_random_damage_is_read_or_refused_in_a_line(seed, tmp_path):
    rng, text = random.Random(seed), MINI.read_text()
    hit = rng.choice(list(re.finditer(r"[\w.]+|[^\w\s]", text)))
    spoilt = rng.choice(["", "x", "(", "}", '"', hit[0] * 2])
    file = tmp_path / "bad.lib"
    file.write_text(text[: hit.start()] + spoilt + text[hit.end() :])
    assert "\n" not in refusal(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.lib cannot be read: No such file or directory$"):
        liberty.read([tmp_path / "none.lib"])
    (tmp_path / "bad.lib.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"bad\.lib\.gz cannot be read"):
        liberty.read([tmp_path / "bad.lib.gz"])

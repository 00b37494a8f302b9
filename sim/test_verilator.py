"""Builds: which are alike, where they are kept, and what one that fails says."""

import ctypes

import numpy as np
import pytest

from tritloom.sim import verilator
from tritloom.sim.__main__ import PROGRAM

# More than any message holds, as another job of make prints after the one that fails.
NOISE = "for number in $(seq 2000); do echo 'other.cpp:1:2: warning: of another job' >&2; done"


def fails(tmp_path, monkeypatch, script):
    """What `build` says of a compiler that is this shell script."""
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    source = tmp_path / "dut.v"
    source.write_text("module dut(input a, output b); assign b = a; endmodule\n")
    folder = tmp_path / "build"
    folder.mkdir()
    with pytest.raises(verilator.BuildError) as raised:
        verilator.build(folder, str(source), top="dut")
    assert not (folder / "built").exists()
    assert len(str(raised.value)) < 7000
    return str(raised.value)


def test_an_error_with_the_lines_around_it_is_shown_whatever_follows(tmp_path, monkeypatch):
    error = "echo 'In f:' >&2; echo 'a.cpp:3:7: error: no such thing' >&2; echo '  ^~~' >&2"
    said = fails(tmp_path, monkeypatch, f"{error}; {NOISE}; exit 1")
    assert said.startswith("make failed: ")
    assert "In f:\na.cpp:3:7: error: no such thing\n  ^~~\n" in said


def test_a_killed_compiler_is_told(tmp_path, monkeypatch):
    assert "Killed" in fails(tmp_path, monkeypatch, f"{NOISE}; kill -9 $$")


def test_verilog_that_is_none_is_told_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "bad.v").write_text("module dut(; endmodule\n")
    with pytest.raises(verilator.BuildError, match=r"verilator_bin failed: %Error: .*bad\.v:1"):
        verilator.build(tmp_path, str(tmp_path / "bad.v"), top="dut")


def test_where_no_line_names_an_error_the_end_is_shown(tmp_path):
    with (tmp_path / "lock").open("w") as lock, pytest.raises(verilator.BuildError) as raised:
        verilator._run(["sh", "-c", f"{NOISE}; echo the end >&2; exit 1"], None, lock)
    assert str(raised.value).endswith("the end\n")


def test_a_sum_of_more_terms_than_the_stack_holds_is_read(tmp_path):
    terms = "\n+ ".join(["a"] * 40_000)
    (tmp_path / "dut.v").write_text(
        f"module dut(input [31:0] a, output [31:0] b);\nassign b = {terms};\nendmodule\n"
    )
    assert verilator.lint(tmp_path / "dut.v", top="dut") == []


def test_each_part_of_a_build_tells_it_from_others(tmp_path):
    parts = [("a", "b"), ("a", "c"), ("ab",), ("a", "b", "")]
    found = {verilator.build_folder("core", *each, folder=tmp_path) for each in parts}
    assert len(found) == len(parts)
    assert all(folder.is_dir() and folder.name.startswith("core-") for folder in found)
    assert verilator.build_folder("core", "a", "b", folder=tmp_path) in found


def test_builds_are_kept_in_the_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(verilator, "cache_folder", lambda name: tmp_path / name)
    assert verilator.build_folder("core", "a").parent == tmp_path / "sim"


def test_a_source_that_is_there_is_left_alone(tmp_path):
    source = verilator.write_source(tmp_path / "dut.v", "module dut; endmodule\n")
    before = source.stat()
    assert verilator.write_source(source, "module dut; endmodule\n").stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ["dut.v"]


DRIVER = """
#include "Vtop.h"
#include "verilated.h"
#include "gain.h"
extern "C" int driven(int a) {
    static Vtop top;
    top.a = a;
    top.eval();
    return GAIN * top.b;
}
"""


@pytest.mark.slow
def test_a_library_is_built_once_and_anew_where_an_included_file_differs(tmp_path, monkeypatch):
    driver, header = tmp_path / "driver.cpp", tmp_path / "gain.h"
    driver.write_text(DRIVER)
    runs, run = [], verilator._run
    monkeypatch.setattr(verilator, "_run", lambda *each: runs.append(each) or run(*each))

    def driven(gain):
        header.write_text(f"#define GAIN {gain}\n")
        text = "module dut(input [7:0] a, output [7:0] b);\n  assign b = a + 1;\nendmodule\n"
        options = {"top": "dut", "label": "dut", "folder": tmp_path / "builds"}
        library = verilator.library(text, driver, includes=[header], **options)
        assert isinstance(library, ctypes.CDLL)
        return library.driven(5)

    assert (driven(1), len(runs)) == (6, 2)
    assert (driven(1), len(runs)) == (6, 2)
    assert (driven(3), len(runs)) == (18, 4)


def test_a_build_that_fails_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise verilator.BuildError("make failed: error: no room\nand what the compiler printed")

    monkeypatch.setattr(verilator, "build", fails)
    np.save(tmp_path / "w.npy", np.eye(4, dtype=np.int8))
    monkeypatch.chdir(tmp_path)
    assert PROGRAM.main(["layer", "--weights", "w.npy", "--preset", "tiny"]) == 2
    assert capsys.readouterr().err == "python -m sim layer: error: make failed: error: no room\n"

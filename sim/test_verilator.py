"""What a build that fails says of it."""

import pytest

from tritloom.sim import verilator

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

"""Every option of every command with values of all kinds: it works, or one line says what is wrong.

Options come from the parsers, so that a new one is tried without being named here.
"""

import argparse
import os
import re
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tritloom.energy_model.__main__
import tritloom.hw.__main__
import tritloom.sim.__main__
import tritloom.sim.power.command

PARSERS = {
    "hw": tritloom.hw.__main__.PROGRAM.parser,
    "sim": tritloom.sim.__main__.PROGRAM.parser,
    "energy_model": tritloom.energy_model.__main__.PROGRAM.parser,
}
MAINS = {
    "hw": tritloom.hw.__main__.PROGRAM.main,
    "sim": tritloom.sim.__main__.PROGRAM.main,
    "energy_model": tritloom.energy_model.__main__.PROGRAM.main,
}


def commands(tool):
    (action,) = (a for a in PARSERS[tool]()._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


def actions(tool, command):
    return [a for a in commands(tool)[command]._actions if a.dest != "help"]


# What commands cannot do without, sound and small: a wrong value of another option is the only one.
SMALL = {
    ("hw", "synth"): ["--preset=tiny", "--target=ecp5"],
    ("hw", "verilog"): ["--preset=tiny"],
    ("hw", "fpga"): ["--preset=tiny"],
    ("sim", "layer"): ["--weights=w.npy"],
    ("sim", "import"): ["w.npy", "--out=out"],
    ("sim", "speak"): ["--prompt=a"],
    ("sim", "board"): ["--port=no-such-port"],
    ("sim", "asap7"): ["--liberty=no-such.lib"],
    ("energy_model", "report"): ["--size=7b"],
    ("energy_model", "trace"): ["--size=7b"],
    ("energy_model", "ledger"): ["t.csv", "--weight=ternary"],
    ("energy_model", "counts"): ["c.json"],
    ("energy_model", "sweep"): ["s.yaml"],
}
# Taken as they come: files to write, and text.
FREE = {"out", "plot", "plots", "prompt"}
LONG = "9" * 5000
WRONG = {
    int: ("-1", "x", "1.5", "nan", "", LONG),
    float: ("nan", "inf", "-1", "1e999", "x", ""),
    tritloom.sim.power.command.share: ("1/0", "-1", "2", "x", "1e9", ""),
}
WRONG_TEXT = ("no-such", "", " ", "a\nb", "\udc80", LONG)


@pytest.mark.parametrize(
    ("tool", "command"), [(tool, command) for tool in PARSERS for command in commands(tool)]
)
def test_help_is_made_of_whole_phrases(tool, command):
    parser = commands(tool)[command]
    assert re.fullmatch(r"[A-Z][a-z]+s\b.*\.", parser.description, re.DOTALL)
    for action in actions(tool, command):
        assert re.match(r"[A-Za-z]", action.help or ""), f"{action.dest}: {action.help}"
        assert not re.match(r"(of|or|such|that|which|with|without|this) ", action.help), action.dest


def valued():
    for tool in PARSERS:
        for command in commands(tool):
            for action in actions(tool, command):
                if action.nargs != 0 and action.dest not in FREE:
                    for value in WRONG.get(action.type, WRONG_TEXT):
                        yield tool, command, action.dest, value


@pytest.fixture
def small_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", np.eye(4, dtype=np.int8))
    (tmp_path / "t.csv").write_text("Layer, M, N, K,\nffn.up, 1, 8, 16,\n")
    (tmp_path / "c.json").write_text('{"add_int8": 4096}')
    (tmp_path / "s.yaml").write_text("parameters: {model: 700m, rows: [1, 2]}\n")
    return tmp_path


def run(tool, arguments, capsys):
    """Exit status and what is on standard error; any other end is a failure."""
    try:
        status = MAINS[tool](arguments)
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().err


def assert_one_line(tool, err):
    # argparse prints the usage first.
    message = re.sub(r"\Ausage: (.*\n)+?(?=python -m )", "", err)
    assert re.fullmatch(rf"({tool}|python -m {tool}[^:\n]*: error): [^\n]+\n", message), err


@pytest.mark.parametrize(
    ("tool", "command", "dest", "value"), list(valued()), ids=lambda part: ascii(part)[:20]
)
def test_option_refuses_what_it_cannot_be(tool, command, dest, value, small_files, capsys):
    (action,) = (a for a in actions(tool, command) if a.dest == dest)
    rest = SMALL.get((tool, command), [])
    if action.option_strings:
        option = action.option_strings[-1]
        arguments = [each for each in rest if not each.startswith(f"{option}=")]
        if dest == "model" and tool == "energy_model":
            arguments.remove("--size=7b")
        arguments.append(f"{option}={value}")
    else:
        arguments = [*(each for each in rest if each.startswith("-")), value]
    before = sorted(os.listdir())
    status, err = run(tool, [command, *arguments], capsys)
    assert status == 2, err
    assert_one_line(tool, err)
    assert sorted(os.listdir()) == before


# What takes minutes, fetches, or has no operand that can be wrong.
HEAVY = {
    "hw": {"verilog", "synth", "fpga", "area"},
    "sim": {
        *("demo", "layer", "speak", "products", "toggles", "board", "asap7", "prove", "bench"),
        *("soak", "mutate", "coverage", "film", "waves", "fuzz-configs"),
    },
    "energy_model": {"reproduce", "fit", "validate", "sweep"},
}
LIGHT = [(tool, name) for tool in PARSERS for name in commands(tool) if name not in HEAVY[tool]]
TEXTS = st.text(st.characters(exclude_characters="\0/.", exclude_categories=["Cs"]), max_size=6)


def values(action):
    known = {
        int: st.integers(-1, 9).map(str) | st.sampled_from(["4096", "1000000000", LONG]),
        float: st.floats().map(str),
    }.get(action.type, st.sampled_from(["tiny", "7b", "paper", "kv260", "w.npy", "t.csv"]))
    if action.choices:
        known = st.sampled_from(list(action.choices))
    return st.one_of(known, known, known, TEXTS)


@pytest.mark.parametrize(("tool", "command"), LIGHT, ids=str)
def test_command_works_or_says_in_one_line_why_not(tool, command, small_files, capsys):
    known = actions(tool, command)
    rest = SMALL.get((tool, command), [])

    @settings(max_examples=25, database=None)
    @given(data=st.data())
    def holds(data):
        arguments = [each for each in rest if data.draw(st.sampled_from([True, True, True, False]))]
        for action in data.draw(st.lists(st.sampled_from(known), max_size=4)):
            if not action.option_strings:
                arguments.append(data.draw(values(action)))
            elif action.nargs == 0:
                arguments.append(action.option_strings[-1])
            else:
                arguments.append(f"{action.option_strings[-1]}={data.draw(values(action))}")
        with tempfile.TemporaryDirectory(dir=small_files) as out:
            if any(action.dest == "out" for action in known):
                arguments.append(f"--out={out}/new")
            status, err = run(tool, [command, *arguments], capsys)
        assert status in (0, 2), err
        if status:
            assert_one_line(tool, err)

    holds()

"""hw.command, hw.fpga.command: what every command of the program has in common."""

import json
import subprocess
import sys

import pytest

from tritloom.hw import yosys
from tritloom.hw.__main__ import PROGRAM

HEAVY = ("amaranth", "rich")
SYNTH = ["synth", "--target", "ice40", "--top", "pe", "--rows", "1", "--cols", "1", "--lanes", "1"]


def test_help_is_printed_without_a_heavy_import():
    program = (
        "import json, sys\n"
        "from tritloom.hw.__main__ import PROGRAM\n"
        "PROGRAM.parser()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert "tritloom.hw.fpga.command" in loaded
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize(
    ("runner", "why"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("print('ERROR: no such cell\\nfurther'); raise SystemExit(1)", "ERROR: no such cell"),
    ],
)
def test_yosys_that_fails_gets_one_line(runner, why, monkeypatch, capsys):
    monkeypatch.setattr(yosys, "_RUNNER", runner)
    assert PROGRAM.main(SYNTH) == 2
    assert capsys.readouterr().err == f"python -m hw synth: error: Yosys gives up: {why}\n"

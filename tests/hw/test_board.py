"""Board: tables, the pins of its top, and refusals over links that are no board."""

import dataclasses
import os
import pty
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch.board import BOARDS, MAX_PAYLOAD, Opcode, Status, find_board
from tritloom.arch.config import PRESETS
from tritloom.arch.driver import Job
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import TRIT2
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.hw.board.top import PORTS
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.run import board as host
from tritloom.sim.run.board import Board, BoardError, commands

PAGE = (Path(__file__).parents[2] / "docs" / "board.md").read_text()


def rows(pattern):
    return re.findall(pattern, PAGE, re.MULTILINE)


def test_page_lists_the_pins_of_the_table_and_the_top():
    pins = BOARDS["ulx3s"].pins
    assert rows(r"^\| `(\w+)` \| (\w+) \| (\S+) \|") == [
        (name, pin.site, pin.net) for name, pin in pins.items()
    ]
    assert set(PORTS) == set(pins)


def test_page_lists_the_opcodes_and_the_flags():
    assert rows(r"^\| 0x(\w\w) \| ([A-Z_]+) \|") == [
        (f"{value:02x}", value.name) for value in (*Opcode, *Status)
    ]


def test_bit_lasts_the_same_on_both_sides():
    # The FT231X divides 3 MHz by whole numbers at this rate.
    board = BOARDS["ulx3s"]
    assert board.cycles_per_bit * board.baud == board.clock_hz
    assert 3_000_000 % board.baud == 0


@pytest.mark.parametrize(
    ("baud", "message"),
    [
        (0, "baud must be at least 1, not 0"),
        (12_000_000, "clock cycles per bit at 12000000 baud must be at least 4, not 2"),
    ],
)
def test_baud_that_cannot_be_is_refused(baud, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        dataclasses.replace(BOARDS["ulx3s"], baud=baud)


def test_unknown_board_is_refused():
    with pytest.raises(InputError, match=r"^unknown board 'orange'; known: ulx3s$"):
        find_board("orange")


@pytest.mark.parametrize("size", [1, 254, 255, 256, 700])
def test_a_packet_s_last_command_alone_ends_it(size):
    packet = np.arange(size, dtype=np.uint8)
    sent = list(commands(Opcode.WEIGHTS, [packet, packet]))
    one = sent[: len(sent) // 2]
    assert one * 2 == sent
    assert b"".join(data for _, data in one) == packet.tobytes()
    assert all(0 < len(data) <= MAX_PAYLOAD for _, data in one)
    *others, last = (opcode for opcode, _ in one)
    assert (set(others) <= {Opcode.WEIGHTS}, last) == (True, Opcode.WEIGHTS_LAST)


class Scripted:
    """A link that answers each command with the next of some bytes, then with the last ones."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.pending = b""

    def write(self, data):
        if data[0] != Opcode.NOP:
            self.pending = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def read(self, count):
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken


def word(value):
    return b"\xa3\x04" + value.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([b""], "no answer to command 0x01"),
        ([b"\xa3"], "no answer to command 0x01"),
        ([b"\x63\x00"], "command 0x01 is answered with 0x63, no status"),
        ([b"\xa3\x00", b"\xa3\x04\x54"], "1 of 4 bytes in answer to command 0x02"),
        ([b"\xa3\x00", word(0x1234)], "register ID holds 0x1234, not 0x54524954: another design"),
        ([b"\xa3\x00", word(0x54524954), word(99 << 16)], "register VERSION holds 0x63, not "),
        ([b"\xaf\x00", b"\xa7\x00"], r"command 0x01 is answered with <Status.*REFUSED"),
    ],
)
def test_link_without_a_board_behind_it_is_told(answers, message):
    def meet(board):
        board.restart()
        board.config()

    with pytest.raises(BoardError, match=message):
        meet(Board(Scripted(*answers)))


def test_core_that_stops_is_told():
    config = PRESETS["tiny"]
    job = Job(make_plan(config, Gemm(1, 4, 2)), TRIT2)
    with pytest.raises(BoardError, match=r"^0 of 8 bytes of psums, then no more; .*: \[\]$"):
        Board(Stuck()).run(job, np.ones((1, 4), int), np.ones((2, 4), int))


class Stuck:
    """A board that takes everything and has no psums; its registers are 0."""

    def write(self, data):
        self.pending = word(0) if data[0] == Opcode.READ else b"\xa3\x00"

    read = Scripted.read


def refused(arguments, capsys):
    """The one line on standard error of a command line that ends with status 2."""
    assert PROGRAM.main(["board", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("python -m sim board: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "missing"], "cannot open port missing: "),
        (["--port", os.devnull], f"cannot open port {os.devnull}: "),
        (["--port", "x", "--board", "orange"], "unknown board 'orange'; known: ulx3s"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, capsys):
    assert message in refused(arguments, capsys)


def test_missing_pyserial_gets_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "serial", None)
    line = refused(["--port", "x"], capsys)
    assert (
        line
        == "python -m sim board: error: pyserial is missing: install the package's `board` extra\n"
    )


def test_port_that_is_silent_gets_one_line(monkeypatch, capsys):
    monkeypatch.setattr(host, "TIMEOUT_S", 0.05)
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    line = refused(["--port", name], capsys)
    os.close(ours)
    os.close(theirs)
    assert line == f"python -m sim board: error: ulx3s at {name}: no answer to command 0x01\n"


def test_port_that_vanishes_gets_one_line(monkeypatch, capsys):
    monkeypatch.setattr(host, "TIMEOUT_S", 0.05)
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    monkeypatch.setattr(host.Board, "restart", lambda board: os.close(ours) or board.link.read(1))
    assert f"python -m sim board: error: ulx3s at {name}: " in refused(["--port", name], capsys)
    os.close(theirs)

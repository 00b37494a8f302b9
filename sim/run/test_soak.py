"""The soak: a short one, and what it must catch."""

import dataclasses
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tritloom.arch.driver import Job
from tritloom.arch.errors import MismatchError
from tritloom.hw.verilog import generate_core
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.bench.runner import plant
from tritloom.sim.run import core, soak

CONFIG = soak.CONFIGS[0]


@pytest.mark.slow
def test_300_000_cycles_are_right_with_every_kind_of_stall(folder):
    configs = soak.CONFIGS[:2]
    totals = soak.soak(300_000, seed=7, folder=folder, configs=configs)
    assert 300_000 <= totals.cycles < 350_000
    assert totals.descriptors > 500
    assert totals.psums > 20_000
    assert totals.exact > 5
    assert min(totals.stalls[side] for side in soak.SIDES) > 10_000


@pytest.mark.slow
def test_a_run_alone_is_the_one_of_the_soak(folder):
    cycles = []
    soak.soak(20_000, seed=5, folder=folder, configs=[CONFIG], progress=cycles.append)
    alone = soak.soak(1, seed=5, folder=folder, configs=[CONFIG], run=3)
    assert (alone.runs, alone.cycles) == (1, cycles[3])


# What is done to the RTL.
MUTANTS = {
    "rows of psums lost under backpressure": (r"back_valid <= 1'h1;", r"back_valid <= 1'h0;"),
    "zero trits counted as others": (r"else zeros <= (\w+);", r"else zeros <= ~\1;"),
    "weights read in the other packing": (
        r"(<= )registers_descriptor_packing;",
        r"\1~registers_descriptor_packing;",
    ),
    "every psum's end unmarked": (r"(m_axis_psums_tlast = )\w+\[\d+\]", r"\g<1>1'h0"),
    "a psum a bit too narrow": (r"(m_axis_psums_tdata = \{ )front\[\d+\]", r"\g<1>1'h0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", MUTANTS)
def test_soak_catches_a_fault(fault, folder, monkeypatch):
    rtl = generate_core(CONFIG, name="dut")
    faulty = dataclasses.replace(rtl, verilog=plant(rtl.verilog, *MUTANTS[fault]))
    monkeypatch.setattr(core, "generate_core", lambda config, name: faulty)
    with pytest.raises(MismatchError, match=r"run \d+ of seed 1: .* --seed 1 --run \d+`"):
        soak.soak(300_000, seed=1, folder=folder, configs=[CONFIG])


def dropped(packet, beat):
    return np.delete(packet, beat, axis=0)


def doubled(packet, beat):
    return np.insert(packet, beat, packet[beat], axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("change", [dropped, doubled])
@pytest.mark.parametrize("stream", ["acts", "weights"])
def test_one_beat_dropped_or_sent_twice_is_found(stream, change, folder, monkeypatch):
    right, damaged = getattr(Job, stream), []

    def once(self, matrix):
        beats = right(self, matrix)
        packet = beats[0] if stream == "acts" else beats
        if not damaged and len(packet) > 9:
            damaged.append(change(packet, 4))
            return [damaged[0], *beats[1:]] if stream == "acts" else damaged[0]
        return beats

    monkeypatch.setattr(Job, stream, once)
    with pytest.raises(MismatchError, match=r"run \d+ of seed 2"):
        soak.soak(300_000, seed=2, folder=folder, configs=[CONFIG])
    assert len(damaged) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cycles", "0"], "cycles must be at least 1, not 0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--run", "-2"], "run must be at least 0, not -2"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    assert PROGRAM.main(["soak", *arguments]) == 2
    assert capsys.readouterr().err == f"python -m sim soak: error: {message}\n"


def test_a_mismatch_is_one_line_and_status_1(capsys, monkeypatch):
    def wrong(*_, **__):
        raise MismatchError("run 3 of seed 0: wrong")

    monkeypatch.setattr(soak, "soak", wrong)
    assert PROGRAM.main(["soak"]) == 1
    assert capsys.readouterr().err == "python -m sim soak: failed: run 3 of seed 0: wrong\n"


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_status_130():
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "soak"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores the signal, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    # Python's imports, which a signal would end without a line, are over by then.
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=120)
    assert (process.returncode, printed, error) == (130, "", "python -m sim soak: interrupted\n")

"""Runs inside the simulator: the board's top through its pins alone, bit by bit.

Started by `sim.bench.runner`; what to run comes in the environment variable TRITLOOM_RUN as JSON:
`config`, `cycles_per_bit` and `seed`. The host is `sim.run.board`, as with a real board.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tty

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, FallingEdge, Timer

from tritloom.arch import regmap
from tritloom.arch.board import MARK, Opcode, Status
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job
from tritloom.arch.ternary import PACKINGS, TRIT2
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.golden.linear import ternary_gemm
from tritloom.sim.run.board import Board, BoardError, commands, run_layer

PERIOD_PS = 2000
# Simulated time after which a test has failed: a few times what the longest takes.
LIMIT_MS = 5
# Bytes' times without a byte after which none comes any more.
QUIET = 20
NOT_DONE = Status.REFUSED | Status.LINE | Status.BUS


class BoardBench:
    """The top between its pins; a link as `sim.run.board.Link`, for functions under `bridge`."""

    def __init__(self, dut, *, skew: float = 0):
        run = json.loads(os.environ["TRITLOOM_RUN"])
        self.dut, self.config = dut, ArrayConfig(**run["config"])
        self.rng = np.random.default_rng(run["seed"])
        self.bit_ps = round(run["cycles_per_bit"] * PERIOD_PS * (1 + skew))
        self.received = bytearray()
        self.resets = 0
        self.write, self.read = resume(self.send), resume(self.receive)
        self.hold, self.press = resume(self.level), resume(self.push_button)
        self.damage = resume(self.send_damaged)
        self.board = Board(self)
        dut.rx.value = 1
        dut.button.value = 0
        cocotb.start_soon(Clock(dut.clk, PERIOD_PS, "ps").start())
        cocotb.start_soon(self._listen())

    async def level(self, value: int, bits: float):
        """Hold the line for a time, in bits."""
        self.dut.rx.value = value
        await Timer(round(bits * self.bit_ps), "ps")

    async def send(self, data: bytes, *, stop: int = 1):
        """Bytes onto the line, back to back, each with this stop bit."""
        for byte in data:
            for bit in (0, *((byte >> i) & 1 for i in range(8)), stop):
                await self.level(bit, 1)
        self.dut.rx.value = 1

    async def send_damaged(self, byte: bytes):
        """A byte without its stop bit, and as much of a pause as tells the next one apart."""
        await self.send(byte, stop=0)
        await self.level(1, 1)

    async def receive(self, count: int) -> bytes:
        """Bytes off the line, fewer where it becomes quiet."""
        quiet = seen = 0
        while len(self.received) < count and quiet < 4 * QUIET:
            await Timer(10 * self.bit_ps // 4, "ps")
            quiet = quiet + 1 if len(self.received) == seen else 0
            seen = len(self.received)
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def _listen(self):
        while True:
            await FallingEdge(self.dut.tx)
            resets = self.resets
            await Timer(self.bit_ps // 2, "ps")
            byte = 0
            for bit in range(10):
                byte |= int(self.dut.tx.value) << bit
                if bit < 9:
                    await Timer(self.bit_ps, "ps")
            if resets != self.resets:
                # Cut off by the button, even in its start bit.
                continue
            assert byte & 1 == 0, "no start bit"
            assert byte >> 9 == 1, "no stop bit"
            self.received.append(byte >> 1 & 0xFF)

    async def push_button(self):
        """Press the button, and let go."""
        self.dut.button.value = 1
        await ClockCycles(self.dut.clk, 5)
        self.dut.button.value = 0
        self.resets += 1
        await ClockCycles(self.dut.clk, 40)
        self.resets += 1
        self.received.clear()

    def ask(self, sent: str) -> str:
        """What a command is answered with, both in hexadecimal digits."""
        self.write(bytes.fromhex(sent))
        return self.read(257).hex(" ")

    def job(self, m, k, n, packing=TRIT2):
        """A job with random operands."""
        limit = 1 << (self.config.act_bits - 1)
        acts = self.rng.integers(-limit, limit, (m, k))
        trits = self.rng.integers(-1, 1, (n, k), endpoint=True).astype(np.int8)
        return Job(make_plan(self.config, Gemm(m, k, n)), packing), acts, trits

    def a_layer_is_right(self):
        """The layer of `python -m sim board`, and no lamp of an error after it."""
        assert [job.packing.name for job, _ in run_layer(self.board, self.config)] == [*PACKINGS]
        assert not self.dut.led_error.value
        assert not self.dut.led_busy.value


async def start(dut, body, *, press=True, skew=0, **parameters):
    """Run a blocking body on a board that was reset by its button."""
    bench = BoardBench(dut, skew=skew)
    if press:
        await bench.push_button()
    await bench.level(1, 10)
    await bridge(body)(bench, **parameters)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def power_on_is_enough(dut):
    """The core answers bytes typed by hand (docs/board.md) without a button pressed or a RESET."""

    def body(bench):
        assert bench.ask("02 01 00") == "a3 04 54 49 52 54"
        assert bench.ask("03 05 21 00 00 00 44") == "a3 00"
        assert bench.ask("02 01 44") == "a3 04 21 00 00 00"
        assert bench.ask("02 01 45") == "b3 04 00 00 00 00"
        assert bench.ask("04 00") == "a3 00"
        assert bench.ask("00 00 00 7f 02 aa bb") == "a7 00"
        assert dut.led_error.value
        assert bench.ask("01 00") == "a3 00"
        assert not dut.led_error.value
        assert bench.ask("02 01 44") == "a3 04 00 00 00 00"
        assert dut.high.value

    await start(dut, body, press=False)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_layer_is_right_and_its_core_tells_its_shape(dut):
    """Psums and registers are right, and the interrupt reaches its lamp."""

    def body(bench):
        bench.board.restart()
        told, config = bench.board.config(), bench.config
        for name in ("rows", "cols", "lanes", "act_bits", "max_k", "dataflow", "group_tokens"):
            assert getattr(told, name) == getattr(config, name), name
        bench.a_layer_is_right()
        assert not dut.led_irq.value
        enable = regmap.encode("IRQ_ENABLE", RUN_DONE=1)
        bench.board.write(regmap.offset("IRQ_ENABLE"), enable)
        assert dut.led_irq.value

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(first=["acts", "weights"])
async def either_stream_may_come_first(dut, first):
    """More than a FIFO holds, then one command too many, which changes nothing."""

    def body(bench):
        config, board = bench.config, bench.board
        slices = -(-2500 // config.rows // config.lanes // 3)
        if first == "acts":
            shape = (3 * config.rows, slices * config.lanes, 1)
        else:
            shape = (config.group_tokens + 1, 20 * config.lanes, -(-5000 // 20 // config.lanes))
        job, acts, trits = bench.job(*shape)
        packets = {
            "acts": (Opcode.ACTS, Status.ACTS_ROOM, job.acts(acts)),
            "weights": (
                Opcode.WEIGHTS,
                Status.WEIGHTS_ROOM,
                [job.weights(trits)] * job.plan.token_groups,
            ),
        }
        opcode, room, sent = packets.pop(first)
        frames = list(commands(opcode, sent))
        assert sum(len(data) for _, data in frames) > 2048
        ((opcode, other_room, sent),) = packets.values()
        others = list(commands(opcode, sent))
        board.command(Opcode.RESET)
        for offset, word in job.writes():
            board.write(offset, word)
        while room in board.status:
            board.command(*frames.pop(0))
        assert frames
        assert other_room in board.status
        board.send(*frames[0])
        assert board.status & NOT_DONE == Status.REFUSED
        psums = b""
        while frames or others or len(psums) < job.rows_out * 4 * config.cols:
            for flag, left in ((room, frames), (other_room, others)):
                if left and flag in board.status:
                    board.command(*left.pop(0))
            psums += board.command(Opcode.PSUMS)
        rows = np.frombuffer(psums, np.uint8).reshape(job.rows_out, -1)
        assert (job.psums(rows) == ternary_gemm(acts, trits)).all()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def psums_wait_until_they_are_asked_for(dut):
    """The core freezes at more psums than a FIFO holds, and answers for its registers."""

    def body(bench):
        config, board = bench.config, bench.board
        groups = -(-3000 // (4 * config.cols) // (2 * config.rows))
        job, acts, trits = bench.job(2 * config.rows, config.lanes, groups * config.cols)
        frames = [
            *commands(Opcode.ACTS, job.acts(acts)),
            *commands(Opcode.WEIGHTS, [job.weights(trits)] * job.plan.token_groups),
        ]
        board.command(Opcode.RESET)
        for offset, word in job.writes():
            board.write(offset, word)
        for frame in frames:
            board.command(*frame)
        bench.hold(1, 4000)
        status = regmap.decode("STATUS", board.read(regmap.offset("STATUS")))
        assert status["BUSY"]
        psums = b""
        while more := board.command(Opcode.PSUMS):
            psums += more
            bench.hold(1, 100)
        rows = np.frombuffer(psums, np.uint8).reshape(job.rows_out, -1)
        assert (job.psums(rows) == ternary_gemm(acts, trits)).all()
        assert rows.size > 2048 + 256

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def what_is_no_command_is_refused_and_does_nothing(dut):
    """Unknown opcodes, and wrong lengths of known ones; the next command is all right."""

    def body(bench):
        known = {0: (), 1: (0,), 2: (1,), 3: (5,), 4: (0,), 8: None, 9: None, 10: None, 11: None}
        m = regmap.offset("M")
        bench.board.write(m, 77)
        for opcode in range(1, 256):
            lengths = (0,) if opcode in range(8, 12) else (0, 1, 2, 5, 6)
            for length in lengths if opcode in known else [int(bench.rng.integers(7))]:
                if known.get(opcode) and length in known[opcode]:
                    continue
                assert bench.board.send(opcode, bytes([m]) * length) == b""
                assert bench.board.status & NOT_DONE == Status.REFUSED, (opcode, length)
        assert bench.dut.led_error.value
        assert bench.board.read(m) == 77
        with_nothing_there = 0x45
        bench.board.send(Opcode.WRITE, bytes(4) + bytes([with_nothing_there]))
        assert bench.board.status & NOT_DONE == Status.BUS
        bench.a_layer_is_right()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_damaged_byte_is_reported_and_its_command_refused(dut):
    """A missing stop bit in any byte, a break, a byte that comes too early; not a spike."""

    def body(bench):
        board, m = bench.board, regmap.offset("M")
        for i in range(7):
            board.write(m, 1000 + i)
            sent = bytes([Opcode.WRITE, 5, 1, 2, 3, 4, m])
            bench.write(sent[:i])
            bench.damage(sent[i : i + 1])
            bench.write(sent[i + 1 :])
            assert bench.read(2) == bytes([MARK | 0b1111, 0]), i
            assert board.read(m) == 1000 + i
        bench.hold(0, 25)
        bench.hold(1, 3)
        board.send(Opcode.READ, bytes([m]))
        assert board.status & NOT_DONE == Status.REFUSED | Status.LINE
        assert board.read(m) == 1006
        bench.hold(0, 0.3)
        bench.hold(1, 15)
        assert board.read(m) == 1006
        # While the board answers, it does not listen.
        bench.write(bytes([Opcode.READ, 1, m]))
        bench.write(bytes([Opcode.RESET, 0]))
        assert bench.read(100) == bytes([MARK | 0b0011, 4, *(1006).to_bytes(4, "little")])
        board.send(Opcode.READ, bytes([m]))
        assert board.status & NOT_DONE == Status.REFUSED | Status.LINE
        assert board.read(m) == 1006
        # Damaged bytes of a stream may be on their way; RESET takes them back.
        bench.write(bytes([Opcode.ACTS, 2, 0x55]))
        bench.damage(b"\x55")
        assert bench.read(100) == bytes([MARK | 0b1111, 0])
        bench.a_layer_is_right()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def lost_bytes_end_in_silence_and_a_restart_recovers(dut):
    """Wherever a command is cut, and in the midst of a run, with streams cut off mid-beat."""

    def body(bench):
        board, m = bench.board, regmap.offset("M")
        for opcode, payload in (
            (Opcode.RESET, b""),
            (Opcode.READ, bytes([m])),
            (Opcode.WRITE, bytes([1, 2, 3, 4, m])),
            (Opcode.ACTS_LAST, bytes(range(1, 101))),
            (Opcode.WEIGHTS, bytes(range(1, 256))),
        ):
            whole = bytes([opcode, len(payload)]) + payload
            for lost in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
                if lost == 0 and opcode in (Opcode.WRITE, Opcode.READ, Opcode.RESET):
                    continue  # what is left begins with another opcode
                bench.write(whole[:lost] + whole[lost + 1 :])
                if lost > 1 or opcode == Opcode.RESET:
                    assert bench.read(1) == b""
                # Else another byte is taken for the length, and anything may be answered.
                board.restart()
                assert board.status & NOT_DONE == 0
                assert board.read(regmap.offset("ID")) == 0x54524954
                assert board.read(m) == 0
        job, acts, trits = bench.job(3, bench.config.lanes * 5, bench.config.cols * 3)
        for offset, word in job.writes():
            board.write(offset, word)
        board.command(Opcode.WEIGHTS, job.weights(trits).tobytes()[:41])
        board.command(Opcode.ACTS, job.acts(acts)[0].tobytes()[:13])
        with pytest.raises(BoardError, match="REFUSED"):
            board.command(Opcode.READ)
        bench.write(bytes([Opcode.ACTS, 200, 1, 2, 3]))
        board.restart()
        bench.a_layer_is_right()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(noise=["bytes", "edges"])
async def noise_never_locks_the_board_up(dut, noise):
    """Random bytes, or a line that toggles at random; then a restart and a layer."""

    def body(bench):
        for _again in range(3):
            if noise == "bytes":
                bench.write(bench.rng.bytes(int(bench.rng.integers(1, 400))))
            else:
                for i, bits in enumerate(bench.rng.exponential(2, 400)):
                    bench.hold(i % 2, max(bits, 0.1))
                bench.hold(1, 12)
            bench.board.restart()
            assert bench.board.read(regmap.offset("ID")) == 0x54524954
        bench.a_layer_is_right()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def the_button_resets_a_run_and_an_answer_under_way(dut):
    """A reset by the button is as good as power-on at any moment."""

    def body(bench):
        job, acts, trits = bench.job(3, bench.config.lanes * 5, bench.config.cols * 3)
        for _again in range(3):
            for offset, word in job.writes():
                bench.board.write(offset, word)
            bench.board.command(Opcode.WEIGHTS, job.weights(trits).tobytes()[:41])
            bench.board.command(Opcode.ACTS, job.acts(acts)[0].tobytes()[:13])
            bench.write(bytes([Opcode.READ, 1, regmap.offset("M")]))
            bench.hold(1, float(bench.rng.uniform(0, 60)))
            bench.press()
            bench.hold(1, 15)
            bench.received.clear()
            assert bench.board.read(regmap.offset("M")) == 0
        bench.a_layer_is_right()

    await start(dut, body)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(skew=[-0.02, 0.02])
async def a_baud_rate_two_per_cent_off_is_understood(dut, skew):
    """One exchange with every value of a bit in a byte."""

    def body(bench):
        for word in (0x00FF55AA, 0xFFFFFFFF, 0x01800180):
            bench.board.write(regmap.offset("N"), word)
            assert bench.board.read(regmap.offset("N")) == word

    await start(dut, body, skew=skew)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def the_command_line_runs_a_layer_through_a_serial_port(dut):
    """`python -m sim board` on a pseudo-terminal, whose other end are the pins."""
    bench = BoardBench(dut)
    await bench.push_button()
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "board", "--port", os.ttyname(theirs)],
        # The simulator's own settings are not for it.
        env={key: value for key, value in os.environ.items() if not key.startswith("COCOTB")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        try:
            await bench.send(os.read(ours, 4096))
        except BlockingIOError:
            await Timer(10 * bench.bit_ps, "ps")
        if bench.received:
            os.write(ours, bench.received)
            bench.received.clear()
    printed, complaint = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, complaint) == (0, "")
    assert f"core   {bench.config.shape}, {bench.config.dataflow}, on ulx3s at " in printed
    assert printed.count("outputs equal to the golden model") == len(PACKINGS)

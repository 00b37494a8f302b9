"""The host's side of a board: the protocol of `arch.board` over a serial link, and a layer on it.

What the link is does not matter here: a serial port, or the pins of the simulated top.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from tritloom.arch import regmap
from tritloom.arch.board import FIELD_BITS, MARK, MAX_PAYLOAD, RESYNC, Opcode, Status, find_board
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.driver import Job, read_counters
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm

from .layer import check

# How long a real board may take: a USB serial port hands over what it has got every 16 ms.
TIMEOUT_S = 1.0
# Polls in a row that find no psum and no room, on top of those that last as long as the plan has
# beats: a poll takes four bytes' time, of 40 cycles and more each.
PATIENCE = 200
POLL_CYCLES = 160


class BoardError(InputError):
    """The board does not answer, or not as it should."""


class Link(Protocol):
    """Bytes to a board and back, as a port of pyserial."""

    def write(self, data: bytes) -> object:
        """Send bytes."""

    def read(self, count: int) -> bytes:
        """Read `count` bytes, or fewer where they stay out."""


class Board:
    """A core on a board.

    Parameters
    ----------
    link : Link

    Attributes
    ----------
    status : Status
        Status of the last answer.
    """

    def __init__(self, link: Link):
        self.link = link
        self.status = Status(0)

    def restart(self) -> None:
        """Find the loader again, whatever it was doing, and reset the core; BoardError if not."""
        self.link.write(bytes(RESYNC))
        while self.link.read(MAX_PAYLOAD):
            pass
        self.send(Opcode.RESET)
        if Status.REFUSED in self.status:
            self.command(Opcode.RESET)

    def send(self, opcode: int, payload: bytes = b"") -> bytes:
        """Send a command; the payload of its answer, whose status is in `status`."""
        self.link.write(bytes([opcode, len(payload)]) + payload)
        head = self.link.read(2)
        if len(head) < 2:
            raise BoardError(f"no answer to command {opcode:#04x}")
        status, length = head
        if status & FIELD_BITS != MARK:
            raise BoardError(f"command {opcode:#04x} is answered with {status:#04x}, no status")
        data = self.link.read(length)
        if len(data) < length:
            raise BoardError(f"{len(data)} of {length} bytes in answer to command {opcode:#04x}")
        self.status = Status(status & ~FIELD_BITS)
        return data

    def command(self, opcode: int, payload: bytes = b"") -> bytes:
        """Send a command that must be done; BoardError where it was not."""
        data = self.send(opcode, payload)
        if self.status & (Status.REFUSED | Status.LINE | Status.BUS):
            raise BoardError(f"command {opcode:#04x} is answered with {self.status!r}")
        return data

    def read(self, offset: int) -> int:
        """Word of a register."""
        return int.from_bytes(self.command(Opcode.READ, bytes([offset])), "little")

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        self.command(Opcode.WRITE, word.to_bytes(4, "little") + bytes([offset]))

    def config(self) -> ArrayConfig:
        """Configuration that the core's registers tell: all that matters to its streams."""
        for register, field, meaning in (
            ("ID", "VALUE", "another design"),
            ("VERSION", "MAJOR", "another register map"),
        ):
            found = regmap.decode(register, self.read(regmap.offset(register)))[field]
            (known,) = (f.reset for f in regmap.register(register).fields if f.name == field)
            if found != known:
                raise BoardError(f"register {register} holds {found:#x}, not {known:#x}: {meaning}")
        shape, widths, flow = (
            regmap.decode(name, self.read(regmap.offset(name)))
            for name in ("SHAPE", "WIDTHS", "DATAFLOW")
        )
        weight_stationary = bool(flow["WEIGHT_STATIONARY"])
        return ArrayConfig(
            rows=shape["ROWS"],
            cols=shape["COLS"],
            lanes=widths["LANES"],
            act_bits=widths["ACT_BITS"],
            max_k=self.read(regmap.offset("MAX_K")),
            dataflow=(
                Dataflow.WEIGHT_STATIONARY if weight_stationary else Dataflow.OUTPUT_STATIONARY
            ),
            **({"buffer_tokens": flow["GROUP_TOKENS"]} if weight_stationary else {}),
        )

    def run(self, job: Job, acts, trits) -> np.ndarray:
        """Run a Gemm and return its psums, shape (m, n).

        Parameters
        ----------
        job : Job
            Job for this core's `config`.
        acts : array_like of int, shape (m, k)
        trits : array_like of int, shape (n, k)

        Raises
        ------
        BoardError
            The board or the core stops, or the core reports an error.
        """
        weights = [job.weights(trits)] * job.plan.token_groups
        waiting = {
            Status.ACTS_ROOM: deque(commands(Opcode.ACTS, job.acts(acts))),
            Status.WEIGHTS_ROOM: deque(commands(Opcode.WEIGHTS, weights)),
        }
        for offset, word in job.writes():
            self.write(offset, word)
        row = 4 * job.plan.config.cols
        patience = PATIENCE + job.plan.beats // POLL_CYCLES
        psums, idle = bytearray(), 0
        while len(psums) < job.rows_out * row:
            before = len(psums)
            psums += self.command(Opcode.PSUMS)
            idle = idle + 1 if len(psums) == before else 0
            for room, left in waiting.items():
                if left and room in self.status:
                    self.command(*left.popleft())
                    idle = 0
            if idle > patience:
                error = regmap.decode("ERROR", self.read(regmap.offset("ERROR")))
                raise BoardError(
                    f"{len(psums)} of {job.rows_out * row} bytes of psums, then no more; "
                    f"the core's errors: {[name for name, bit in error.items() if bit]}"
                )
        error = self.read(regmap.offset("ERROR"))
        if error:
            raise BoardError(f"the core reports {regmap.decode('ERROR', error)}")
        return job.psums(np.frombuffer(psums, np.uint8).reshape(-1, row))


def commands(opcode: Opcode, packets: Iterable[np.ndarray]) -> Iterator[tuple[Opcode, bytes]]:
    """Packets of a stream as (opcode, payload); `opcode` is the one without LAST."""
    for packet in packets:
        data = packet.tobytes()
        for start in range(0, len(data), MAX_PAYLOAD):
            last = start + MAX_PAYLOAD >= len(data)
            yield Opcode(opcode | last), data[start : start + MAX_PAYLOAD]


def run_layer(board: Board, config: ArrayConfig, *, seed: int = 0) -> Iterator[tuple[Job, float]]:
    """Run a layer of several tiles in each direction, once with either packing.

    Yields
    ------
    (Job, float)
        What ran and was found right, and the seconds that it took.

    Raises
    ------
    BoardError
    MismatchError
        Psums differ from the golden model or a plain product, or counters from `arch.counts`.
    """
    rng = np.random.default_rng(seed)
    k = min(3 * config.slices_per_tile * config.lanes + 1, config.max_k)
    gemm = Gemm(2 * config.rows + 1, k, 3 * config.cols + 1)
    limit = 1 << (config.act_bits - 1)
    for packing in PACKINGS.values():
        acts = rng.integers(-limit, limit, (gemm.m, gemm.k))
        trits = rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True).astype(np.int8)
        job = Job(make_plan(config, gemm), packing)
        board.command(Opcode.RESET)
        start = time.perf_counter()
        psums = board.run(job, acts, trits)
        seconds = time.perf_counter() - start
        counters = read_counters(board.read, board.write)
        check(job, acts, trits, psums=psums, counters=counters)
        yield job, seconds


def show_board(port: str, *, board: str, seed: int) -> None:
    """Run the layer on the board at a serial port, and print what came of it."""
    baud = find_board(board).baud
    if find_spec("serial") is None:
        raise InputError("pyserial is missing: install the package's `board` extra")
    import serial

    try:
        link = serial.Serial(port, baud, timeout=TIMEOUT_S)
    except (OSError, ValueError) as error:
        # What pyserial says holds the port's name, and twice the number.
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else error
        raise InputError(f"cannot open port {port}: {reason}") from None
    try:
        with link:
            found = Board(link)
            found.restart()
            config = found.config()
            print(f"core   {config.shape}, {config.dataflow}, on {board} at {port}")
            for job, seconds in run_layer(found, config, seed=seed):
                gemm, name = job.plan.gemm, job.packing.name
                print(
                    f"{name}  {gemm.m} tokens, {gemm.k} to {gemm.n} features: "
                    f"{gemm.m * gemm.n:,} outputs equal to the golden model and to a plain "
                    f"product; counters as planned; {seconds:.2f} s  MEASURED"
                )
    except (BoardError, OSError) as error:
        raise BoardError(f"{board} at {port}: {error}") from None

"""Runs inside the simulator: `hw/core/registers.py` behind cocotbext-axi's AXI4-Lite master.

`sim.bench.runner` starts it like `sim.bench.lockstep`, with `config` and `seed` in TRITLOOM_RUN.
The model is what the register page promises to a driver; it knows nothing of cycles or of the
gateware.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections import deque

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from cocotbext.axi.axil_channels import (
    AxiLiteARTransaction,
    AxiLiteAWTransaction,
    AxiLiteWTransaction,
)

from tritloom.arch import regmap
from tritloom.arch.config import ArrayConfig

from .scenarios import BUS_SCENARIOS

PERIOD_NS = 2
# No test goes on for ever: a few times the cycles of the slowest one.
LIMIT = 200_000
OKAY, SLVERR = 0, 2
NAMES = {register.offset: register.name for register in regmap.REGISTERS}
COUNTERS = [name for name, _ in regmap.COUNTERS]
# (port, register, bit) of every event of the core.
EVENTS = [
    ("event_illegal_code", "ERROR", 0),
    ("event_acts_early", "ERROR", 1),
    ("event_acts_late", "ERROR", 2),
    ("event_weights_early", "ERROR", 3),
    ("event_weights_late", "ERROR", 4),
    ("event_run_done", "EVENT", 0),
]
OVERFLOW, BAD, FLUSHED = 1 << 5, 1 << 6, 1 << 7
SOFT_RESET, SNAPSHOT, RESUME = 1, 2, 4
# What flushing waits for, from bit 3 of STATUS on.
LEFT = ["acts_open", "weights_open", "psum_offered"]
INPUTS = ["descriptor_ready", "busy", "illegal_beat", *LEFT, *(port for port, _, _ in EVENTS)]
SCENARIOS = cocotb.parametrize(scenario=list(BUS_SCENARIOS))


def make_warnings_errors():
    """What pytest does elsewhere, except for what the bus library itself is warned of."""
    warnings.simplefilter("error")
    # cocotbext-axi 0.1.28 was written for cocotb 1; to go with the first release that was not.
    for message in (
        r"Use `handle\.set\(Immediate",
        r"Use `signal\.value_change`",
        r"`task\.kill\(\)` is deprecated",
        r"The data field will be removed",
    ):
        warnings.filterwarnings(
            "ignore", message=message, category=DeprecationWarning, module=r"cocotbext\.axi\."
        )


class RegistersModel:
    """What a driver sees."""

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.words = {name: regmap.reset_word(name, config) for name in NAMES.values()}
        self.queue = deque()
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.busy = self.runs = self.soft_resets = self.left = 0
        self.flushing = self.resumed = False

    def write(self, address: int, word: int, strobes: int) -> int:
        """Carry out a write; returns its response."""
        name = NAMES.get(address)
        mask = sum(0xFF << 8 * byte for byte in range(4) if strobes >> byte & 1)
        ones = word & mask
        if name in ("M", "K", "N", "OPTIONS"):
            self.words[name] = ones | self.words[name] & ~mask
        elif name == "IRQ_ENABLE":
            self.words[name] = (ones | self.words[name] & ~mask) & 3
        elif name in ("ERROR", "EVENT"):
            self.words[name] &= ~ones
        elif name == "PUSH" and ones & 1:
            self.push()
        elif name == "CONTROL":
            if ones & RESUME and self.flushing:
                self.resumed = True
            if ones & SOFT_RESET:
                self.flushing, self.resumed = True, False
                self.queue.clear()
                self.counters = dict.fromkeys(COUNTERS, 0)
                self.runs = 0
                self.soft_resets += 1
            if ones & SNAPSHOT:
                for counter, value in self.counters.items():
                    self.words[f"{counter}_LO"] = value & 0xFFFFFFFF
                    self.words[f"{counter}_HI"] = value >> 32
            self.settle()
        return SLVERR if name is None else OKAY

    def settle(self):
        """Flushing ends where software has resumed and no stream has anything left."""
        self.flushing = self.flushing and not (self.resumed and not self.left)

    def push(self):
        """Queue the descriptor, or say why not."""
        m, k, n, options = (self.words[name] for name in ("M", "K", "N", "OPTIONS"))
        bad = 0 in (m, k, n) or k > self.config.max_k or options >= 6
        full = len(self.queue) == 4
        if bad:
            self.words["ERROR"] |= BAD
        if full:
            self.words["ERROR"] |= OVERFLOW
        if self.flushing:
            self.words["ERROR"] |= FLUSHED
        if not bad and not full and not self.flushing:
            self.queue.append((m, k, n, options & 1, options >> 1))

    def event(self, port: str, register: str, bit: int, beat: int):
        """The core reports an event."""
        if port == "event_illegal_code" and not self.words["ERROR"] & 1:
            self.words["FIRST_ILLEGAL"] = beat
        self.words[register] |= 1 << bit
        if port == "event_run_done":
            self.runs = (self.runs + 1) % 65536

    def read(self, address: int) -> tuple[int, int]:
        """Response and word."""
        name = NAMES.get(address)
        if name is None:
            return SLVERR, 0
        if name == "STATUS":
            level = len(self.queue)
            busy = int(self.busy or level > 0)
            full = self.flushing or level == 4
            low = busy | full << 1 | self.flushing << 2 | self.left << 3
            return OKAY, low | level << 8 | self.runs << 16
        return OKAY, self.words[name]

    @property
    def irq(self) -> int:
        """The interrupt."""
        enable = self.words["IRQ_ENABLE"]
        return int(enable & self.words["EVENT"] & 1 or (enable & 2 and self.words["ERROR"] != 0))


class RegistersBench:
    """The device, its bus master, and a checker of the bus in every cycle."""

    def __init__(self, dut, scenario: str, test: int):
        run = json.loads(os.environ["TRITLOOM_RUN"])
        self.dut = dut
        self.config = ArrayConfig(**run["config"])
        self.rng = np.random.default_rng([run["seed"], test, list(BUS_SCENARIOS).index(scenario)])
        self.model = RegistersModel(self.config)
        self.holds = BUS_SCENARIOS[scenario]
        self.soft_resets = 0
        self.taken = []

    async def start(self) -> RegistersBench:
        """Clock, reset, and all channels of the bus in their scenario."""
        make_warnings_errors()
        # The library logs every transfer.
        logging.getLogger("cocotb.tritloom_dut").setLevel(logging.WARNING)
        dut = self.dut
        self.counts = {name: getattr(dut, f"count_{name.lower()}") for name in COUNTERS}
        for port in (*(getattr(dut, name) for name in INPUTS), *self.counts.values()):
            port.value = 0
        dut.rst.value = 1
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, "ns").start())
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        write, read = self.bus.write_if, self.bus.read_if
        self.channels = {
            "aw": write.aw_channel,
            "w": write.w_channel,
            "b": write.b_channel,
            "ar": read.ar_channel,
            "r": read.r_channel,
        }
        await self.reset(2)
        for name, share in self.holds.items():
            self.channels[name].set_pause_generator(self.pauses(share))
        cocotb.start_soon(self.check_streams())
        return self

    async def reset(self, cycles: int):
        """Hold reset for so many cycles."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, cycles)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    def pauses(self, share):
        """Whether a channel pauses, cycle by cycle, for ever."""
        rng = np.random.default_rng(self.rng.integers(1 << 32))
        while True:
            yield bool(rng.random() < share)

    async def check_streams(self):
        """In every cycle: what is offered stays until it is taken; no answer without a question."""
        dut = self.dut
        streams = {
            "b": ("s_axil_bvalid", "s_axil_bready", ["s_axil_bresp"]),
            "r": ("s_axil_rvalid", "s_axil_rready", ["s_axil_rdata", "s_axil_rresp"]),
            "descriptor": (
                "descriptor_valid",
                "descriptor_ready",
                [f"descriptor_{name}" for name in ("m", "k", "n", "packing", "psums_last")],
            ),
        }
        streams = {
            name: (getattr(dut, valid), getattr(dut, ready), [getattr(dut, p) for p in payload])
            for name, (valid, ready, payload) in streams.items()
        }
        handshakes = {
            name: (getattr(dut, f"s_axil_{name}valid"), getattr(dut, f"s_axil_{name}ready"))
            for name in self.channels
        }
        count = dict.fromkeys(self.channels, 0)
        before = dict.fromkeys(streams)
        cycles = 0
        while True:
            await RisingEdge(dut.clk)
            cycles += 1
            assert cycles < LIMIT, f"still running after {cycles} cycles"
            if int(dut.rst.value):
                before = dict.fromkeys(streams)
                count = dict.fromkeys(count, 0)
                continue
            for name, (valid, ready) in handshakes.items():
                count[name] += int(valid.value) and int(ready.value)
            assert count["b"] <= min(count["aw"], count["w"]), "a write was answered twice"
            assert count["r"] <= count["ar"], "a read was answered twice"
            for name, (valid, ready, payload) in streams.items():
                now = None
                if int(valid.value):
                    now = [int(port.value) for port in payload]
                    if name == "descriptor" and int(dut.descriptor_ready.value):
                        self.taken.append(tuple(now))
                assert before[name] in (None, now), f"{name} changed before it was taken"
                before[name] = None if int(ready.value) else now
            if int(dut.soft_reset.value):
                self.soft_resets += 1
                before["descriptor"] = None

    async def write(self, address: int, word: int, strobes: int = 15) -> int:
        """Write through the bus; returns the response."""
        return await with_timeout(self._write(address, word, strobes), 400 * PERIOD_NS, "ns")

    async def _write(self, address, word, strobes):
        if strobes == 15 and address % 4 == 0:
            return int((await self.bus.write(address, word.to_bytes(4, "little"))).resp)
        # The master aligns and splits what it writes itself, so the channels are used directly.
        await self.channels["aw"].send(AxiLiteAWTransaction(awaddr=address))
        await self.channels["w"].send(AxiLiteWTransaction(wdata=word, wstrb=strobes))
        return int((await self.channels["b"].recv()).bresp)

    async def read(self, address: int) -> tuple[int, int]:
        """Read through the bus; returns response and word."""
        return await with_timeout(self._read(address), 400 * PERIOD_NS, "ns")

    async def _read(self, address):
        if address % 4 == 0:
            answer = await self.bus.read(address, 4)
            return int(answer.resp), int.from_bytes(answer.data, "little")
        await self.channels["ar"].send(AxiLiteARTransaction(araddr=address))
        answer = await self.channels["r"].recv()
        return int(answer.rresp), int(answer.rdata)

    async def write_checked(self, address, word, strobes=15):
        """Write; the response is what the model says."""
        response = await self.write(address, word, strobes)
        assert response == self.model.write(address, word, strobes), f"write to {address:#x}"

    async def read_checked(self, address):
        """Read; response and word are what the model says."""
        seen, wanted = await self.read(address), self.model.read(address)
        assert seen == wanted, f"read of {address:#x} gave {seen}, the model says {wanted}"

    async def event(self, *events, beat=0):
        """Raise events of the core for one cycle."""
        self.dut.illegal_beat.value = beat
        for port, register, bit in events:
            getattr(self.dut, port).value = 1
            self.model.event(port, register, bit, beat)
        await ClockCycles(self.dut.clk, 1)
        for port, _, _ in events:
            getattr(self.dut, port).value = 0
        self.dut.illegal_beat.value = 0

    def most(self, name: str) -> int:
        """What a counter counts in a cycle, at most."""
        return self.config.cols * self.config.lanes if name.endswith("TRITS") else 1

    async def count(self):
        """Let all counters count for a cycle, by any number each."""
        for name, port in self.counts.items():
            number = int(self.rng.integers(self.most(name), endpoint=True))
            port.value = number
            self.model.counters[name] += number
        await ClockCycles(self.dut.clk, 1)
        for port in self.counts.values():
            port.value = 0

    async def leave(self, left: int):
        """Tell what flushing waits for, a bit for each of `LEFT`."""
        for bit, port in enumerate(LEFT):
            getattr(self.dut, port).value = left >> bit & 1
        self.model.left = left
        await ClockCycles(self.dut.clk, 2)
        self.model.settle()

    async def take(self):
        """Take the descriptor that is offered, if any, as the model does."""
        self.dut.descriptor_ready.value = 1
        await ClockCycles(self.dut.clk, 1)
        self.dut.descriptor_ready.value = 0
        await ClockCycles(self.dut.clk, 1)
        wanted = [self.model.queue.popleft()] if self.model.queue else []
        assert self.taken == wanted, f"took {self.taken}, the model says {wanted}"
        self.taken.clear()

    async def read_all(self):
        """Every word of the address space, mapped or not."""
        for address in self.rng.permutation(np.arange(0, 1 << regmap.ADDRESS_BITS, 4)):
            await self.read_checked(int(address))


@cocotb.test()
@SCENARIOS
async def every_address_reads_its_reset_value(dut, scenario):
    """A write without strobes changes nothing, and neither does one that is misaligned."""
    bench = await RegistersBench(dut, scenario, 0).start()
    for address in range(0, 1 << regmap.ADDRESS_BITS, 4):
        await bench.write_checked(address, 0xFFFFFFFF, strobes=0)
    await bench.read_all()
    for address in (1, 2, 3, 0x41, 0x4E, 0xFF):
        await bench.read_checked(address)
        await bench.write_checked(address, 0xFFFFFFFF)
    await bench.read_checked(regmap.offset("M"))
    await bench.read_checked(regmap.offset("OPTIONS"))


@cocotb.test()
@SCENARIOS
async def random_traffic_answers_as_the_page_says(dut, scenario):
    """Reads, writes with any strobes, events and descriptors taken, one after the other."""
    bench = await RegistersBench(dut, scenario, 1).start()
    rng, model = bench.rng, bench.model
    values = [0, 1, 1, 5, bench.config.max_k, bench.config.max_k + 1, 0xFFFFFFFF]
    often = [regmap.offset(name) for name in ("M", "K", "N", "OPTIONS", "PUSH", "PUSH", "PUSH")]
    for _ in range(300):
        action = rng.choice(["read", "write", "descriptor", "event", "take", "inputs", "flush"])
        if action in ("read", "write"):
            address = int(rng.choice(list(NAMES)) if rng.random() < 0.7 else rng.integers(256))
            if action == "read":
                await bench.read_checked(address)
            else:
                word = int(rng.integers(1 << 32))
                await bench.write_checked(address, word, int(rng.integers(16)))
        elif action == "descriptor":
            address = int(rng.choice(often))
            value = 1 if address == regmap.offset("PUSH") else int(rng.choice(values))
            await bench.write_checked(address, value)
            await bench.read_checked(regmap.offset("STATUS"))
            await bench.read_checked(regmap.offset("ERROR"))
        elif action == "event":
            picked = rng.choice(len(EVENTS), rng.integers(1, 3), replace=False)
            await bench.event(*(EVENTS[i] for i in picked), beat=int(rng.integers(1 << 32)))
        elif action == "take":
            await bench.take()
        elif action == "flush":
            # Mostly it ends soon, or no descriptor would be queued.
            await bench.leave(int(rng.choice([0, 0, 0, 1, 2, 4, 7])))
            control = int(rng.choice([RESUME, RESUME, RESUME, SOFT_RESET, SOFT_RESET | RESUME]))
            await bench.write_checked(regmap.offset("CONTROL"), control)
            await bench.read_checked(regmap.offset("STATUS"))
        else:
            model.busy = int(rng.integers(2))
            dut.busy.value = model.busy
            for _cycle in range(int(rng.integers(1, 80))):
                await bench.count()
        await ClockCycles(dut.clk, 2)
        assert int(dut.irq.value) == model.irq
        assert int(dut.descriptor_valid.value) == bool(model.queue)
        assert bench.soft_resets == model.soft_resets
    await bench.event(*EVENTS, beat=7)
    await bench.read_all()
    for _, name, bit in EVENTS:
        await bench.write_checked(regmap.offset(name), 1 << bit)
        await bench.read_checked(regmap.offset("ERROR"))
        await bench.read_checked(regmap.offset("EVENT"))


@cocotb.test()
@SCENARIOS
async def reads_among_writes_see_old_or_new(dut, scenario):
    """A reader and a writer at once: a word is the last one written, or one being written."""
    bench = await RegistersBench(dut, scenario, 2).start()
    names = ["M", "K", "N", "OPTIONS"]
    # (start, end, word) of each write.
    history = {name: [(-1.0, 0.0, 0)] for name in names}
    write_rng, read_rng = np.random.default_rng(21), np.random.default_rng(22)

    async def write_all():
        for _ in range(120):
            name, word = str(write_rng.choice(names)), int(write_rng.integers(1 << 32))
            history[name].append((get_sim_time("ns"), np.inf, word))
            response = await bench.write(regmap.offset(name), word)
            history[name][-1] = (history[name][-1][0], get_sim_time("ns"), word)
            assert response == OKAY

    writer = cocotb.start_soon(write_all())
    while not writer.done():
        name, start = str(read_rng.choice(names)), get_sim_time("ns")
        response, word = await bench.read(regmap.offset(name))
        end = get_sim_time("ns")
        last = max(index for index, (_, done, _) in enumerate(history[name]) if done <= start)
        allowed = [value for begun, _, value in history[name][last:] if begun <= end]
        assert (response, word in allowed) == (OKAY, True)
    await writer
    for name in names:
        assert await bench.read(regmap.offset(name)) == (OKAY, history[name][-1][2])


@cocotb.test()
@SCENARIOS
async def many_in_flight_are_answered_one_by_one(dut, scenario):
    """Writes and reads are offered as fast as the bus takes them, some to no register."""
    bench = await RegistersBench(dut, scenario, 9).start()
    addresses = [int(address) & ~3 for address in bench.rng.integers(256, size=60)]
    targets = [regmap.offset("M"), 0x54, regmap.offset("N"), 0xFC]
    reads = [cocotb.start_soon(bench.bus.read(address, 4)) for address in addresses if address < 64]
    writes = [
        (target, index, cocotb.start_soon(bench.bus.write(target, index.to_bytes(4, "little"))))
        for index in range(1, 10)
        for target in bench.rng.permutation(targets).tolist()
    ]
    for address, task in zip([a for a in addresses if a < 64], reads, strict=True):
        answer = await with_timeout(task, 4000 * PERIOD_NS, "ns")
        seen = int(answer.resp), int.from_bytes(answer.data, "little")
        assert seen == bench.model.read(address)
    for target, index, task in writes:
        answer = await with_timeout(task, 4000 * PERIOD_NS, "ns")
        assert int(answer.resp) == bench.model.write(target, index, 15)
    for name in ("M", "N", "K"):
        await bench.read_checked(regmap.offset(name))


@cocotb.test()
@SCENARIOS
async def full_queue_keeps_its_descriptors_and_reports(dut, scenario):
    """Four fit, the fifth is dropped; the four come out in order, and then there is room."""
    bench = await RegistersBench(dut, scenario, 3).start()
    await bench.write_checked(regmap.offset("K"), 1)
    await bench.write_checked(regmap.offset("N"), 4)
    await bench.write_checked(regmap.offset("IRQ_ENABLE"), 2)
    for m in range(1, 6):
        await bench.write_checked(regmap.offset("M"), m)
        await bench.write_checked(regmap.offset("OPTIONS"), m)
        await bench.write_checked(regmap.offset("PUSH"), 1)
        await bench.read_checked(regmap.offset("STATUS"))
    assert bench.model.words["ERROR"] == OVERFLOW
    await bench.read_checked(regmap.offset("ERROR"))
    assert int(dut.irq.value) == 1
    # What is in the registers now is in none of the four: the one in front differs in every bit.
    for name, word in (("M", ~1), ("K", ~1), ("N", ~4)):
        await bench.write_checked(regmap.offset(name), word & 0xFFFFFFFF)
    await bench.write_checked(regmap.offset("OPTIONS"), 0)
    await bench.write_checked(regmap.offset("K"), bench.config.max_k)
    await bench.write_checked(regmap.offset("ERROR"), OVERFLOW)
    await ClockCycles(dut.clk, 1)
    assert int(dut.irq.value) == 0
    await bench.take()
    await bench.write_checked(regmap.offset("PUSH"), 1)
    for _ in range(5):
        await bench.take()
    await bench.read_checked(regmap.offset("STATUS"))
    await bench.read_checked(regmap.offset("ERROR"))


@cocotb.test()
@SCENARIOS
async def queue_streams_in_order_while_it_is_filled(dut, scenario):
    """Descriptors are taken at random times, some in the cycle of a push; none is lost."""
    bench = await RegistersBench(dut, scenario, 4).start()
    rng = np.random.default_rng(41)
    pushed = []

    async def take_all():
        while True:
            dut.descriptor_ready.value = int(rng.random() < 0.08)
            await RisingEdge(dut.clk)

    cocotb.start_soon(take_all())
    # A single bit makes a size more than 0, and k too large.
    for bit in range(32):
        for m, k, n in ((1 << bit, 1, 1 << 31 - bit), (1, 1 << bit, 1)):
            for name, size in (("M", m), ("K", k), ("N", n)):
                await bench.write(regmap.offset(name), size)
            while (await bench.read(regmap.offset("STATUS")))[1] & 2:
                pass
            await bench.write(regmap.offset("PUSH"), 1)
            if k <= bench.config.max_k:
                pushed.append((m, k, n, 0, 0))
    while (await bench.read(regmap.offset("STATUS")))[1] & 1:
        pass
    assert bench.taken == pushed
    assert await bench.read(regmap.offset("ERROR")) == (OKAY, BAD)


@cocotb.test()
@SCENARIOS
async def snapshot_is_of_one_cycle(dut, scenario):
    """Counters run on while their copies are read; trits of a large array into the upper word."""
    bench = await RegistersBench(dut, scenario, 5).start()
    steps = {name: bench.most(name) for name in COUNTERS}
    cycle = 0

    async def count():
        nonlocal cycle
        for name, step in steps.items():
            bench.counts[name].value = step
        while True:
            await RisingEdge(dut.clk)
            cycle += 1

    cocotb.start_soon(count())
    for _ in range(8):
        before = cycle
        await bench.write(regmap.offset("CONTROL"), 2)
        after = cycle
        for _ in range(2):
            words = {}
            for name in bench.rng.permutation([f"{c}_{p}" for c in COUNTERS for p in ("LO", "HI")]):
                words[name] = (await bench.read(regmap.offset(str(name))))[1]
            taken = {
                (words[f"{name}_HI"] << 32 | words[f"{name}_LO"]) / step
                for name, step in steps.items()
            }
            assert len(taken) == 1, f"counters of cycles {taken} in one snapshot"
            assert before <= taken.pop() <= after
        await ClockCycles(dut.clk, int(bench.rng.integers(1, 600)))


@cocotb.test()
@SCENARIOS
async def soft_reset_drops_descriptors_and_keeps_errors(dut, scenario):
    """A soft reset also keeps the next descriptor; it zeroes the counters, not their copy."""
    bench = await RegistersBench(dut, scenario, 6).start()
    for name, word in (("M", 2), ("K", 1), ("N", 4), ("PUSH", 1), ("PUSH", 1)):
        await bench.write_checked(regmap.offset(name), word)
    await bench.event(*EVENTS, beat=77)
    await bench.event(*EVENTS, beat=78)
    await bench.count()
    await bench.write_checked(regmap.offset("CONTROL"), 2)
    await bench.read_all()
    await bench.write_checked(regmap.offset("CONTROL"), 1)
    await ClockCycles(dut.clk, 2)
    assert (bench.soft_resets, int(dut.descriptor_valid.value)) == (1, 0)
    await bench.read_all()
    await bench.count()
    for control in (2, 3):
        await bench.write_checked(regmap.offset("CONTROL"), control)
        await bench.read_all()
    await bench.write_checked(regmap.offset("CONTROL"), RESUME)
    await bench.write_checked(regmap.offset("PUSH"), 1)
    await bench.take()


@cocotb.test()
@SCENARIOS
async def flushing_ends_once_software_resumes_and_nothing_is_left(dut, scenario):
    """Each of what may be left keeps it up by itself; descriptors are refused until then."""
    bench = await RegistersBench(dut, scenario, 10).start()
    control, status = regmap.offset("CONTROL"), regmap.offset("STATUS")
    for name in ("M", "K", "N"):
        await bench.write_checked(regmap.offset(name), 1)

    async def is_flushing(wanted):
        await bench.read_checked(status)
        assert (bench.model.flushing, int(dut.flushing.value)) == (wanted, wanted)
        await bench.write_checked(regmap.offset("PUSH"), 1)
        await bench.read_checked(regmap.offset("ERROR"))
        assert bench.model.words["ERROR"] == (FLUSHED if wanted else 0)
        await bench.write_checked(regmap.offset("ERROR"), FLUSHED)
        if not wanted:
            await bench.take()

    for left in (0, 1, 2, 4, 7):
        # Without a soft reset before it, and together with it, RESUME does nothing.
        await bench.write_checked(control, RESUME)
        await bench.leave(left)
        await is_flushing(False)
        await bench.write_checked(control, SOFT_RESET)
        await is_flushing(True)
        await bench.write_checked(control, RESUME)
        await bench.write_checked(control, SOFT_RESET | RESUME)
        await bench.leave(0)
        await is_flushing(True)
        await bench.leave(left)
        await bench.write_checked(control, RESUME)
        await is_flushing(left != 0)
        await bench.leave(0)
        await is_flushing(False)


@cocotb.test()
@SCENARIOS
async def reset_in_the_middle_of_traffic_starts_afresh(dut, scenario):
    """Whatever the bus was doing, at any moment of a write and of a read."""
    bench = await RegistersBench(dut, scenario, 7).start()
    bench.counts["CYCLES"].value = 1
    for wait in range(14):
        await bench.write(regmap.offset("M"), 1)
        bench.bus.init_write(regmap.offset("K"), b"\1\2\3\4")
        bench.bus.init_write(regmap.offset("CONTROL"), b"\2\0\0\0")
        bench.bus.init_read(regmap.offset("ID"), 4)
        await ClockCycles(dut.clk, wait)
        await bench.reset(2)
        for name in ("M", "K", "ID", "STATUS", "CYCLES_LO"):
            await bench.read_checked(regmap.offset(name))


@cocotb.test()
async def event_wins_over_a_clear_in_the_same_cycle(dut):
    """The event moves cycle by cycle past the clear: before it, with it, after it."""
    bench = await RegistersBench(dut, "steady", 8).start()
    illegal = EVENTS[0]
    await bench.write(regmap.offset("IRQ_ENABLE"), 2)
    outcomes = []
    for delay in range(10):
        await bench.event(illegal, beat=1000)
        await ClockCycles(dut.clk, 4)
        assert int(dut.irq.value) == 1
        clear = cocotb.start_soon(bench.write(regmap.offset("ERROR"), 1))
        irq = []
        for cycle in range(14):
            dut.event_illegal_code.value = int(cycle == delay)
            dut.illegal_beat.value = delay if cycle == delay else 0
            await RisingEdge(dut.clk)
            irq.append(int(dut.irq.value))
        await clear
        beat = (await bench.read(regmap.offset("FIRST_ILLEGAL")))[1]
        error = (await bench.read(regmap.offset("ERROR")))[1]
        assert error == irq[-1]
        # Kept as it was and cleared; or set again, without or with a cycle in between.
        outcomes.append("cleared" if not error else "dipped" if 0 in irq else "held")
        assert beat == (delay if error else 1000)
        await bench.write(regmap.offset("ERROR"), 1)
    assert outcomes.count("held") == 1
    moment = outcomes.index("held")
    assert 0 < moment < len(outcomes) - 1
    assert set(outcomes[:moment]) == {"cleared"}
    assert set(outcomes[moment + 1 :]) == {"dipped"}

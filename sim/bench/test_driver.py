"""The C driver of examples/driver, compiled as for bare metal, on the verilated core.

`driver.cpp` drives the pins and calls the driver; what the psums should be is a plain product.
"""

import ctypes
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch import regmap, ternary
from tritloom.arch.config import ArrayConfig
from tritloom.hw.verilog import generate_core
from tritloom.sim import verilator
from tritloom.sim.checkpoints.importer import import_model

DRIVER = Path(__file__).parents[2] / "examples" / "driver"
HARNESS = Path(__file__).with_name("driver.cpp")
HEADER = DRIVER / "tritloom.h"
COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-ffreestanding"]

OUTPUT, WEIGHT = "output-stationary", "weight-stationary"
TRIT2, TRIT5 = 0, 1

# Sides at 1 and odd; acts narrower and wider than the matrix's; beats that end within a byte.
CONFIGS = {
    "output 1x1x1": ArrayConfig(rows=1, cols=1, lanes=1, max_k=40),
    "output 3x5x7": ArrayConfig(rows=3, cols=5, lanes=7, max_k=50),
    "output 2x3x5, acts of 5 bits": ArrayConfig(rows=2, cols=3, lanes=5, act_bits=5, max_k=64),
    "output 5x2x3, acts of 11 bits": ArrayConfig(rows=5, cols=2, lanes=3, act_bits=11, max_k=33),
    "output 1x7x2": ArrayConfig(rows=1, cols=7, lanes=2, max_k=50, input_stages=0),
    "weight 1x1x1": ArrayConfig(
        rows=1, cols=1, lanes=1, max_k=40, dataflow=WEIGHT, buffer_tokens=1
    ),
    "weight 3x5x2": ArrayConfig(
        rows=3, cols=5, lanes=2, max_k=50, dataflow=WEIGHT, buffer_tokens=7
    ),
    "weight 2x3x5, acts of 3 bits": ArrayConfig(
        rows=2, cols=3, lanes=5, act_bits=3, max_k=64, dataflow=WEIGHT, buffer_tokens=4
    ),
    "weight 5x1x3": ArrayConfig(
        rows=5, cols=1, lanes=3, max_k=40, dataflow=WEIGHT, buffer_tokens=5
    ),
    "weight 1x4x3": ArrayConfig(
        rows=1, cols=4, lanes=3, max_k=33, dataflow=WEIGHT, buffer_tokens=3
    ),
}


@functools.cache
def rtl_of(name):
    return generate_core(CONFIGS[name], name="dut")


class Core(ctypes.Structure):
    """`tritloom_core`."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("read", "write", "bus")),
        *((name, ctypes.c_uint32) for name in ("rows", "cols", "lanes", "act_bits", "psum_bits")),
        *((name, ctypes.c_uint32) for name in ("max_k", "queue_depth", "group_tokens")),
        ("weight_stationary", ctypes.c_bool),
        *((name, ctypes.c_uint16) for name in ("version_major", "version_minor", "pushed")),
    ]


class Counters(ctypes.Structure):
    """`tritloom_counters`."""

    _fields_ = [(name.lower(), ctypes.c_uint64) for name, _ in regmap.COUNTERS]


class Case(ctypes.Structure):
    """`Case` of driver.cpp."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("m", "k", "n", "packing", "psums_last")),
        *((name, ctypes.c_void_p) for name in ("acts", "trits", "image")),
        ("image_bytes", ctypes.c_uint64),
        ("psums", ctypes.c_void_p),
        ("wrong_acts_last", ctypes.c_int64),
        ("wrong_weights_last", ctypes.c_int64),
    ]


def results():
    """The results of the driver by their names without prefix."""
    body = re.search(r"typedef enum \{(.*?)\} tritloom_result", HEADER.read_text(), re.DOTALL)
    names = re.findall(r"TRITLOOM_(\w+)", re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL))
    return {name: value for value, name in enumerate(names)}


FAIL = results()


def compiled(folder, text=None, *, flags=("-Os", "-shared", "-fPIC", "-nostdlib"), prefix=""):
    """The driver as a shared library, and the folder of the generated header beside it."""
    text = (DRIVER / "tritloom.c").read_text() if text is None else text
    header = regmap.c_header()
    label = f"{prefix}driver"
    built = verilator.build_folder(label, text, HEADER.read_text(), header, *flags, folder=folder)
    source = verilator.write_source(built / "tritloom.c", text)
    verilator.write_source(built / "tritloom_regs.h", header)
    library = built / f"driver-{os.getpid()}.so"
    command = [COMPILER, *FLAGS, *flags, f"-I{DRIVER}", f"-I{built}", str(source), "-o"]
    subprocess.run([*command, str(library)], check=True)
    return library


class Machine:
    """A core of its own with the driver, and what is in flight."""

    def __init__(self, name, folder, *, seed=1, stall=30, driver=None):
        config = CONFIGS[name]
        rtl = rtl_of(name)
        driver = compiled(folder) if driver is None else driver
        self.library = verilator.library(
            rtl.verilog,
            HARNESS,
            top=rtl.top,
            label="cdriver",
            folder=folder,
            includes=[HEADER],
            options=["-CFLAGS", f"-I{DRIVER}"],
        )
        self.library.machine_new.restype = ctypes.c_void_p
        self.library.machine_cycles.restype = ctypes.c_uint64
        self.library.machine_interrupts.restype = ctypes.c_uint64
        new = self.library.machine_new(str(driver.resolve()).encode(), ctypes.c_uint64(seed), stall)
        assert new is not None
        self.handle = ctypes.c_void_p(new)
        self.config, self.rng = config, np.random.default_rng(seed)
        self.core = Core()

    def call(self, name, *arguments):
        return getattr(self.library, f"machine_{name}")(self.handle, *arguments)

    def open(self):
        return self.call("open", ctypes.byref(self.core))

    def operands(self, m, k, n):
        limit = 1 << (min(self.config.act_bits, 8) - 1)
        acts = self.rng.integers(-limit, limit, (m, k)).astype(np.int8)
        return acts, self.rng.integers(-1, 2, (n, k)).astype(np.int8)

    def run(self, jobs, *, interrupt=False, cycles=None):
        """Run (acts, trits, packing[, more fields of Case]) one behind the other.

        With `cycles`, they are left after so many.
        """
        cases = (Case * len(jobs))()
        psums = []
        for case, (acts, trits, packing, *more) in zip(cases, jobs, strict=True):
            (m, k), (n, _) = acts.shape, trits.shape
            psums.append(np.full((m, n), -(1 << 31), np.int32))
            case.m, case.k, case.n, case.packing = m, k, n, packing
            case.acts, case.trits, case.psums = (
                array.ctypes.data for array in (acts, trits, psums[-1])
            )
            case.wrong_acts_last = case.wrong_weights_last = -1
            for name, value in more[0].items() if more else ():
                setattr(case, name, value)
        if cycles is not None:
            # The operands are read until the reset.
            self.held = (cases, jobs, psums)
            return self.call("begin", cases, len(jobs), cycles), psums
        return self.call("run", cases, len(jobs), interrupt), psums

    def errors(self):
        bits, first = ctypes.c_uint32(), ctypes.c_uint32()
        result = self.call("errors", ctypes.byref(bits), ctypes.byref(first))
        return result, bits.value, first.value

    def counters(self):
        counters = Counters()
        assert self.call("counters", ctypes.byref(counters)) == 0
        return {name: getattr(counters, name) for name, _ in Counters._fields_}

    def read(self, name):
        word = ctypes.c_uint32()
        assert self.call("read", regmap.offset(name), ctypes.byref(word)) == 1
        return word.value


def product(acts, trits):
    return acts.astype(np.int64) @ trits.astype(np.int64).T


def shapes(config, rng):
    """(m, k, n): 1 of each, whole tiles, and around them."""
    tile_m = min(config.group_tokens, 9)
    tile_k = config.slices_per_tile * config.lanes
    yield 1, 1, 1
    yield tile_m, min(tile_k, config.max_k), config.cols
    yield 2 * tile_m + 1, min(2 * tile_k + 1, config.max_k), 2 * config.cols + 1
    yield 1, config.max_k, 3 * config.cols - 1
    for _ in range(4):
        m, k, n = rng.integers(1, [3 * tile_m, config.max_k + 1, 4 * config.cols])
        yield int(m), int(k), int(n)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_runs_of_any_shape_are_the_plain_product(name, folder):
    total = 0
    for stall, interrupt in ((0, False), (30, True), (70, False)):
        machine = Machine(name, folder, seed=7 + stall, stall=stall)
        assert machine.open() == FAIL["OKAY"]
        config, core = machine.config, machine.core
        for field in ("rows", "cols", "lanes", "act_bits", "psum_bits", "max_k", "group_tokens"):
            assert getattr(core, field) == getattr(config, field)
        assert core.weight_stationary == (config.dataflow == WEIGHT)
        assert core.queue_depth == regmap.QUEUE_DEPTH
        jobs = [
            (*machine.operands(*shape), packing, {"psums_last": (number + packing) % 3})
            for number, shape in enumerate(shapes(config, machine.rng))
            for packing in (TRIT2, TRIT5)
        ]
        result, psums = machine.run(jobs, interrupt=interrupt)
        assert result == FAIL["OKAY"]
        for (acts, trits, *_), found in zip(jobs, psums, strict=True):
            np.testing.assert_array_equal(found, product(acts, trits))
        assert machine.errors()[:2] == (FAIL["OKAY"], 0)
        interrupts = machine.call("interrupts")
        assert 1 <= interrupts <= len(jobs) if interrupt else interrupts == 0
        counters = machine.counters()
        assert counters["illegal_beats"] == 0
        # Of every trit of a product, each group of tokens takes one.
        useful = sum(-(-len(acts) // config.group_tokens) * trits.size for acts, trits, *_ in jobs)
        assert counters["trits"] - counters["zero_trits"] <= useful <= counters["trits"]
        nonzero = sum(
            -(-len(acts) // config.group_tokens) * np.count_nonzero(trits)
            for acts, trits, *_ in jobs
        )
        assert counters["trits"] - counters["zero_trits"] == nonzero
        assert counters["busy"] <= counters["cycles"] <= machine.call("cycles")
        total += len(jobs)
    assert total == 48


@pytest.mark.slow
@pytest.mark.parametrize("name", ["output 3x5x7", "weight 3x5x2"])
@pytest.mark.parametrize("packing", ["trit2", "trit5"])
def test_weights_that_the_importer_packed_run_as_they_are(name, packing, folder, tmp_path):
    machine = Machine(name, folder, seed=3)
    config = machine.config
    acts, trits = machine.operands(2 * config.group_tokens + 1, 41, 2 * config.cols + 1)
    np.save(tmp_path / "layer.npy", trits)
    out = tmp_path / "model"
    import_model(tmp_path / "layer.npy", out, config=config, packing=ternary.PACKINGS[packing])
    image = np.fromfile(next((out / "weights").glob("*.bin")), np.uint8)
    assert machine.open() == FAIL["OKAY"]
    fields = {"trits": None, "image": image.ctypes.data, "image_bytes": len(image)}
    code = TRIT5 if packing == "trit5" else TRIT2
    result, (psums,) = machine.run([(acts, trits, code, fields)])
    assert result == FAIL["OKAY"]
    np.testing.assert_array_equal(psums, product(acts, trits))
    # A byte too few is no pass of this run.
    short = fields | {"image_bytes": len(image) - 1}
    assert machine.run([(acts, trits, code, short)])[0] == FAIL["FAIL_IMAGE"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["output 3x5x7", "weight 3x5x2"])
def test_junk_in_the_padding_of_weights_changes_nothing(name, folder, tmp_path):
    machine = Machine(name, folder, seed=4)
    config = machine.config
    depth = config.slices_per_tile * config.lanes
    m, k, n = config.group_tokens + 1, 2 * depth + 1, config.cols + 1
    # Trits beyond k and n, up to whole tiles.
    acts, trits = machine.operands(m, 3 * depth, 2 * config.cols)
    acts = np.ascontiguousarray(acts[:, :k])
    np.save(tmp_path / "layer.npy", trits)
    out = tmp_path / "model"
    import_model(tmp_path / "layer.npy", out, config=config, packing=ternary.TRIT2)
    image = np.fromfile(next((out / "weights").glob("*.bin")), np.uint8)
    positions = config.cols * config.lanes
    groups = image.reshape(-1, 4 * -(-positions // 4))
    groups[:, positions:] = 0xAA
    slices = 2 * 3 * config.slices_per_tile
    assert slices % 4 == 2
    groups[-1, :positions] |= 0xF0
    assert machine.open() == FAIL["OKAY"]
    fields = {"trits": None, "image": image.ctypes.data, "image_bytes": image.size}
    trits = np.ascontiguousarray(trits[:n, :k])
    result, (psums,) = machine.run([(acts, trits, TRIT2, fields)])
    assert result == FAIL["OKAY"]
    np.testing.assert_array_equal(psums, product(acts, trits))
    assert machine.errors()[:2] == (FAIL["OKAY"], 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["output 3x5x7", "weight 3x5x2"])
def test_an_illegal_byte_is_reported_with_its_beat_and_counts_as_zeros(name, folder):
    machine = Machine(name, folder, seed=5)
    config = machine.config
    assert machine.open() == FAIL["OKAY"]
    # A run of one slice and one group of tokens, all trits +1 by hand: 0x55 of trit2.
    positions = config.cols * config.lanes
    beat = -(-positions // 4)
    slices = config.slices_per_tile
    image = np.full(4 * beat * -(-slices // 4), 0x55, np.uint8)
    acts = machine.operands(1, slices * config.lanes, 1)[0]
    trits = np.ones((config.cols, acts.shape[1]), np.int8)
    wrong = beat + 1  # a position in beat 1
    image[wrong] = 0x02
    col, lane = divmod(wrong, config.lanes)
    trits[col, lane :: config.lanes] = 0
    fields = {"trits": None, "image": image.ctypes.data, "image_bytes": len(image)}
    result, (psums,) = machine.run([(acts, trits, TRIT2, fields)])
    assert result == FAIL["OKAY"]
    np.testing.assert_array_equal(psums, product(acts, trits))
    illegal = regmap.encode("ERROR", ILLEGAL_CODE=1)
    assert machine.errors() == (FAIL["FAIL_REPORTED"], illegal, 1)
    assert machine.counters()["illegal_beats"] == 1
    assert machine.call("errors_clear", illegal) == FAIL["OKAY"]
    assert machine.errors()[:2] == (FAIL["OKAY"], 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["output 2x3x5, acts of 5 bits", "weight 3x5x2"])
@pytest.mark.parametrize("stream", ["acts", "weights"])
def test_a_packet_that_ends_early_is_reported_and_the_driver_resets(name, stream, folder):
    machine = Machine(name, folder, seed=9)
    assert machine.open() == FAIL["OKAY"]
    acts, trits = machine.operands(1, machine.config.max_k, 1)
    wrong = {f"wrong_{stream}_last": 0}
    # The rest of the packet is left over: the stream is not done, whatever the psums are.
    assert machine.run([(acts, trits, TRIT2, wrong)])[0] not in (FAIL["OKAY"], FAIL["FAIL_BUS"])
    early = regmap.encode("ERROR", **{f"{stream.upper()}_EARLY": 1})
    result, bits, _ = machine.errors()
    assert (result, bits & early) == (FAIL["FAIL_REPORTED"], early)
    assert machine.call("reset") == FAIL["OKAY"]
    assert machine.errors()[:2] == (FAIL["OKAY"], 0)
    assert machine.read("STATUS") == 0
    result, (psums,) = machine.run([(acts, trits, TRIT2)])
    assert result == FAIL["OKAY"]
    np.testing.assert_array_equal(psums, product(acts, trits))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["output 3x5x7", "weight 3x5x2"])
@pytest.mark.parametrize("stall", [0, 40])
def test_a_run_after_a_reset_at_any_time_is_right(name, stall, folder):
    machine = Machine(name, folder, seed=13, stall=stall)
    assert machine.open() == FAIL["OKAY"]
    config = machine.config
    shape = (2 * config.group_tokens + 1, config.max_k, 2 * config.cols + 1)
    for cycles in (0, 1, 3, 10, 25, 60, 100, 150, 333):
        jobs = [(*machine.operands(*shape), packing) for packing in (TRIT5, TRIT2)]
        assert machine.run(jobs, cycles=cycles)[0] == FAIL["OKAY"]
        assert machine.call("reset") == FAIL["OKAY"]
        result, psums = machine.run(jobs, interrupt=cycles % 2 == 1)
        assert result == FAIL["OKAY"]
        for (acts, trits, _), found in zip(jobs, psums, strict=True):
            np.testing.assert_array_equal(found, product(acts, trits))
        assert machine.errors()[:2] == (FAIL["OKAY"], 0)


@pytest.mark.slow
def test_the_bus_is_as_the_manual_says(folder):
    machine = Machine("output 1x1x1", folder, stall=0)
    assert machine.call("first_read_taken") == 32
    assert machine.open() == FAIL["OKAY"]
    for name in ("ID", "STATUS", "MAX_K"):
        before = machine.read(name)
        assert machine.call("write", regmap.offset(name), ctypes.c_uint32(~before)) == 1
        assert machine.read(name) == before
    word = ctypes.c_uint32()
    for offset in (regmap.offset("ID") + 1, 0x1C, 0xFC):
        assert machine.call("write", offset, 1) == 0
        assert machine.call("read", offset, ctypes.byref(word)) == 0


@pytest.mark.slow
def test_each_wrong_run_has_its_name(folder):
    machine = Machine("output 2x3x5, acts of 5 bits", folder)
    assert machine.open() == FAIL["OKAY"]
    for m, k, n, packing in ((0, 1, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, 65, 1, 0), (1, 1, 1, 2)):
        assert machine.call("push", m, k, n, packing) == FAIL["FAIL_SIZE"]
    assert machine.read("STATUS") == 0
    for _ in range(50):
        result = machine.call("push", 1, 1, 1, TRIT2)
        if result != FAIL["OKAY"]:
            break
    assert result == FAIL["FAIL_QUEUE_FULL"]
    assert machine.errors()[:2] == (FAIL["OKAY"], 0)
    assert machine.open() == FAIL["FAIL_BUSY"]
    assert machine.call("reset") == FAIL["OKAY"]
    assert machine.open() == FAIL["OKAY"]
    ones = np.ones((1, 1), np.int8)
    for acts, trits, name in ((ones * 16, ones, "ACT"), (ones, ones * 2, "TRIT")):
        broken = Machine("output 2x3x5, acts of 5 bits", folder)
        assert broken.open() == FAIL["OKAY"]
        assert broken.run([(acts, trits, TRIT2)])[0] == FAIL[f"FAIL_{name}"]


# What is done to the driver's source: texts, and what stands there instead.
FAULTS = {
    # Where either operand is zero, the other does not matter.
    "padding is not zero": {
        "input >= acts->k) {\n        return 0;": "input >= acts->k) {\n        return 1;",
        "int8_t trits[5] = {0, 0, 0, 0, 0};": "int8_t trits[5] = {1, 1, 1, 1, 1};",
    },
    "a slice's rows are a token's lanes": {
        "acts->step * core->rows + acts->row :": "acts->row * acts->steps + acts->step :",
    },
    "tokens of a tile come one by one": {
        "weight_stationary && ++acts->token < acts->tokens": (
            "weight_stationary && acts->tokens == 0"
        ),
    },
    "a tile is not filled up": {
        "steps * core->rows : steps": "divided_up(run->k, core->lanes) : steps",
    },
    "psums go feature group by group": {
        "if (++psums->token < psums->tokens) {": "if (psums->tokens == 0) {",
    },
    "a position is lane by lane": {
        "if (++weights->lane == weights->core->lanes) {": (
            "if (++weights->col == weights->core->cols) {"
        ),
        "        weights->lane = 0;\n        ++weights->col;": (
            "        weights->col = 0;\n        ++weights->lane;"
        ),
    },
    "t0 is at the big end": {"code(trits[0]) | code(trits[1])": "code(trits[1]) | code(trits[0])"},
    "a pair's bit is the other's": {"(y != 0 ? y : x) < 0": "(y != 0 ? x : y) < 0"},
    "only one pass of weights": {"--weights->packets;": "weights->packets = 0;"},
    "TLAST a beat late": {"(++acts->step < acts->steps)": "(acts->step++ < acts->steps)"},
    "psums are unsigned": {"UINT32_MAX - word) - 1": "UINT32_MAX - word)"},
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_driver_with_a_fault_is_caught(fault, folder):
    text = (DRIVER / "tritloom.c").read_text()
    for right, wrong in FAULTS[fault].items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    driver = compiled(folder, text, prefix="wrong-")
    caught = False
    for name in ("output 3x5x7", "weight 3x5x2"):
        machine = Machine(name, folder, seed=11, stall=0, driver=driver)
        assert machine.open() == FAIL["OKAY"]
        for shape in shapes(machine.config, machine.rng):
            jobs = [(*machine.operands(*shape), packing) for packing in (TRIT2, TRIT5)]
            result, psums = machine.run(jobs)
            caught |= result != FAIL["OKAY"] or any(
                (found != product(acts, trits)).any()
                for (acts, trits, _), found in zip(jobs, psums, strict=True)
            )
            if caught:
                return
    assert caught


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O2"])
def test_the_driver_needs_no_library(level, tmp_path):
    library = compiled(tmp_path, flags=(level, "-shared", "-fPIC", "-nostdlib"))
    undefined = subprocess.run(["nm", "-u", library], check=True, capture_output=True, text=True)
    assert [line for line in undefined.stdout.splitlines() if " w " not in line] == []
    sources = HEADER.read_text() + (DRIVER / "tritloom.c").read_text()
    included = re.findall(r"#include (\S+)", sources)
    assert set(included) == {
        *("<stdbool.h>", "<stddef.h>", "<stdint.h>"),
        *('"tritloom.h"', '"tritloom_regs.h"'),
    }


def test_the_example_of_the_page_compiles(tmp_path):
    (example,) = re.findall(r"```c\n(.*?)```", (DRIVER / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.c").write_text(example)
    command = [COMPILER, *FLAGS, f"-I{DRIVER}", "-c", "example.c", "-o", "example.o"]
    subprocess.run(command, check=True, cwd=tmp_path)


def test_the_driver_knows_every_error_and_counter():
    source = (DRIVER / "tritloom.c").read_text()
    assert re.findall(r"^    COUNTER\((\w+), (\w+)\);", source, re.MULTILINE) == [
        (name, name.lower()) for name, _ in regmap.COUNTERS
    ]
    # Offsets come from the generated header alone.
    assert re.findall(r"0x[0-9a-fA-F]+", re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)) == [
        *("0x8000", "0xff")
    ]

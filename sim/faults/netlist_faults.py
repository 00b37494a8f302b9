"""Random single faults in generated Verilog: all of them in one netlist, of which one is on.

A fault is in a module, and so in all its instances, as a mistake in the RTL is. The netlist is what
Yosys reads from the Verilog, word by word, as its JSON. Each module with faults gets a register
whose value, from `+mutant=` on the simulator's command line, is the number of the fault that is on;
0 is none.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError
from tritloom.hw import yosys

KINDS = ("stuck at 0", "stuck at 1", "inverted", "swapped", "off by one")
_SELECT = "mutant"
_SELECT_BITS = 16
# `a - b` and `a < b` take their operands in an order; so does `s ? b : a`.
_ORDERED = ("$sub", "$lt", "$le", "$gt", "$ge", "$mux")
_WITH_CONSTANT = ("$add", "$sub", "$eq", "$ne", "$lt", "$le", "$gt", "$ge", "$mux")
_CLOCKS = re.compile(r"(RD_|WR_)?CLK|clk")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes
    ----------
    number : int
        From 1 on.
    kind : str
        One of `KINDS`.
    module, cell, type, port : str
        Where; a swap is of ports A and B, and its `port` is A.
    bit : int
        Of the port, where the fault is of a bit.
    line : str
        Of the Verilog, without what is around it.
    """

    number: int
    kind: str
    module: str
    cell: str
    type: str
    port: str
    bit: int
    line: str

    def __str__(self):
        return f"{self.kind}: {self.module} {self.type}.{self.port}[{self.bit}] in `{self.line}`"


def read_netlist(verilog: str) -> dict:
    """What Yosys makes of Verilog, before anything is mapped."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "dut.v"), Path(folder, "dut.json")
        source.write_text(verilog)
        yosys.run(
            f"read_verilog {source}\n"
            "proc -norom\n"
            "memory_collect\n"
            # Where a write is off, its address and data are anything.
            "opt_expr -mux_undef\n"
            "clean\n"
            f"write_json {out}\n"
        )
        # Cells are called after their line; the folder's name differs from run to run.
        return json.loads(out.read_text().replace(f"{folder}/", ""))


def _sites(module: str, cell: str, body: dict):
    """(kind, module, cell, port, bit) of every fault that a cell can have."""
    inputs = [
        (port, bits)
        for port, bits in body["connections"].items()
        if body["port_directions"][port] == "input" and not _CLOCKS.fullmatch(port)
    ]
    for port, bits in inputs:
        for bit, net in enumerate(bits):
            if isinstance(net, int):
                yield "stuck at 0", module, cell, port, bit
                yield "stuck at 1", module, cell, port, bit
        if len(bits) == 1 and isinstance(bits[0], int):
            yield "inverted", module, cell, port, 0
        constant = all(net in ("0", "1") for net in bits)
        if constant and len(bits) > 1 and body["type"] in _WITH_CONSTANT:
            yield "off by one", module, cell, port, 0
    if body["type"] in _ORDERED:
        a, b = body["connections"]["A"], body["connections"]["B"]
        if len(a) == len(b) > 1 and a != b:
            yield "swapped", module, cell, "A", 0


def list_faults(verilog: str, netlist: dict, count: int, seed: int) -> list[Fault]:
    """Random faults, the same for a seed: kinds in turn, of each a module, a place in it.

    So a counter's enable is as likely as a bit of a wide word.

    Raises
    ------
    InputError
        The netlist has fewer places.
    """
    lines = verilog.splitlines()
    places: dict[str, dict[str, list]] = {kind: {} for kind in KINDS}
    for module, body in netlist["modules"].items():
        for cell, inside in body["cells"].items():
            for site in _sites(module, cell, inside):
                places[site[0]].setdefault(module, []).append(site)
    total = sum(len(sites) for modules in places.values() for sites in modules.values())
    if count > total:
        raise InputError(f"there are {total} places for faults, fewer than {count}")
    rng, faults = np.random.default_rng(seed), []
    while len(faults) < count:
        modules = places[KINDS[len(faults) % len(KINDS)]]
        if not modules:
            # All of a rare kind are taken.
            modules = max(places.values(), key=len)
        module = sorted(modules)[int(rng.integers(len(modules)))]
        site = modules[module].pop(int(rng.integers(len(modules[module]))))
        if not modules[module]:
            del modules[module]
        kind, module, cell, port, bit = site
        body = netlist["modules"][module]["cells"][cell]
        found = re.search(r"dut\.v:(\d+)", body["attributes"].get("src", ""))
        faults.append(
            Fault(
                number=len(faults) + 1,
                kind=kind,
                module=module,
                cell=cell,
                type=body["type"],
                port=port,
                bit=bit,
                line=lines[int(found[1]) - 1].strip() if found else "",
            )
        )
    return faults


class _Module:
    """A module of the netlist, to which cells are added."""

    def __init__(self, body: dict):
        self.body = body
        nets = [net["bits"] for net in body["netnames"].values()]
        nets += [bits for cell in body["cells"].values() for bits in cell["connections"].values()]
        self.next = 1 + max(net for bits in nets for net in bits if isinstance(net, int))

    def nets(self, count: int) -> list[int]:
        self.next += count
        return list(range(self.next - count, self.next))

    def cell(self, kind: str, width: int, **inputs: list) -> list[int]:
        """Output of a new cell."""
        output = self.nets(width)
        parameters: dict[str, int] = {"WIDTH": width}
        if kind != "$mux":
            sizes = {f"{port}_WIDTH": len(bits) for port, bits in inputs.items()}
            signs = {f"{port}_SIGNED": 0 for port in inputs}
            parameters = sizes | signs | {"Y_WIDTH": width}
        self.body["cells"][f"$mutant${self.next}"] = {
            "hide_name": 1,
            "type": kind,
            "parameters": parameters,
            "attributes": {},
            "port_directions": {**dict.fromkeys(inputs, "input"), "Y": "output"},
            "connections": inputs | {"Y": output},
        }
        return output

    def selects(self) -> list[int]:
        """The register with the number of the fault, as an input until it is Verilog."""
        ports = self.body["ports"]
        if _SELECT not in ports:
            bits = self.nets(_SELECT_BITS)
            ports[_SELECT] = {"direction": "input", "bits": bits}
            self.body["netnames"][_SELECT] = {"hide_name": 0, "bits": bits, "attributes": {}}
        return ports[_SELECT]["bits"]


def _bits(number: int, width: int) -> list[str]:
    return [str(number >> bit & 1) for bit in range(width)]


def plant_faults(netlist: dict, faults: list[Fault], *, always: bool = False) -> dict:
    """The netlist with all of the faults, each on where its number is chosen, or always."""
    netlist = copy.deepcopy(netlist)
    modules = {name: _Module(netlist["modules"][name]) for name in {f.module for f in faults}}
    for fault in faults:
        module = modules[fault.module]
        ports = module.body["cells"][fault.cell]["connections"]
        on: list = ["1"]
        if not always:
            number = _bits(fault.number, _SELECT_BITS)
            on = module.cell("$eq", 1, A=module.selects(), B=number)

        def replace(port, sound, faulty, *, ports=ports, module=module, on=on):
            ports[port] = module.cell("$mux", len(sound), A=sound, B=faulty, S=on)

        bits = list(ports[fault.port])
        if fault.kind == "swapped":
            other = list(ports["B"])
            replace("A", bits, other)
            replace("B", other, bits)
        elif fault.kind == "off by one":
            value = sum(int(net) << place for place, net in enumerate(bits))
            replace(fault.port, bits, _bits(value + 1, len(bits)))
        else:
            faulty = list(bits)
            stuck = {"stuck at 0": "0", "stuck at 1": "1"}.get(fault.kind)
            faulty[fault.bit] = stuck or module.cell("$not", 1, A=[bits[fault.bit]])[0]
            replace(fault.port, bits, faulty)
    return netlist


def write_verilog(netlist: dict) -> str:
    """Verilog of a netlist with faults, which `+mutant=` chooses from."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "dut.json"), Path(folder, "dut.v")
        source.write_text(json.dumps(netlist))
        yosys.run(f"read_json {source}\nwrite_verilog -noattr {out}\n")
        text = out.read_text()
    chosen = (
        f"reg [{_SELECT_BITS - 1}:0] {_SELECT};\n"
        f'  initial if ($value$plusargs("{_SELECT}=%d", {_SELECT}) == 0) {_SELECT} = 0;\n'
    )
    # Out of the list of ports.
    text = re.sub(rf"\s*, {_SELECT}\s*\);", ");", text)
    text = re.sub(rf"^  input \[\d+:0\] {_SELECT};\n", "", text, flags=re.M)
    return re.sub(rf"^  wire \[\d+:0\] {_SELECT};\n", f"  {chosen}", text, flags=re.M)


def _registers_alone(netlist: dict) -> dict:
    """The netlist with names for ports and registers alone: what lies between may differ."""
    netlist = copy.deepcopy(netlist)
    for body in netlist["modules"].values():
        cells = body["cells"].values()
        held = {bit for cell in cells for bit in cell["connections"].get("Q", ())}
        held |= {bit for port in body["ports"].values() for bit in port["bits"]}
        for net in body["netnames"].values():
            net["hide_name"] |= int(held.isdisjoint(net["bits"]))
        body["netnames"] = {
            f"$hidden${name}" if net["hide_name"] and name[0] != "$" else name: net
            for name, net in body["netnames"].items()
        }
    return netlist


def equal(gold: dict, gate: dict, top: str, *, seconds: int = 20) -> bool:
    """Whether a module of two netlists is proved to do the same, from equal states on.

    By induction, register by register of equal name; or of the ports alone, by SAT over few cycles
    from initial values. False also where neither decides.
    """
    with tempfile.TemporaryDirectory() as folder:
        read = ""
        for name, netlist in (("gold", gold), ("gate", gate)):
            file = Path(folder, f"{name}.json")
            file.write_text(json.dumps(_registers_alone(netlist)))
            read += (
                f"read_json {file}\n"
                f"hierarchy -top {top}\n"
                "flatten\nmemory_map\nopt_expr\nclean\ndffunmap\n"
                f"rename {top} {name}\n"
                f"design -stash {name}\n"
            )
        read += "design -copy-from gold -as gold gold\ndesign -copy-from gate -as gate gate\n"
        for proof in (
            "equiv_make gold gate both\nhierarchy -top both\nequiv_simple\nequiv_status -assert\n",
            "miter -equiv -flatten gold gate miter\nhierarchy -top miter\nopt -full\nclean\n"
            f"sat -tempinduct -maxsteps 6 -timeout {seconds} -prove trigger 0 -verify miter\n",
        ):
            try:
                yosys.run(read + proof)
            except yosys.YosysError:
                continue
            return True
    return False


def prove_equivalent(netlist: dict, fault: Fault) -> str:
    """Module as seen from whose ports the fault changes nothing, ever; "" where none is found.

    Tried are the fault's module and those that it is part of.
    """
    faulty = plant_faults(netlist, [fault], always=True)
    around = [
        name
        for name, body in netlist["modules"].items()
        if any(cell["type"] == fault.module for cell in body["cells"].values())
    ]
    return next((top for top in (fault.module, *around) if equal(netlist, faulty, top)), "")

"""A design mapped to standard cells: its cells, the nets between them, its area."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .liberty import Cell, Library, Pin


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A cell of the netlist; nets are numbers, by pin. Constants are negative."""

    name: str
    cell: Cell
    nets: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """Instances of library cells, and the nets between them.

    Attributes
    ----------
    inputs, outputs : dict of str to list of int
        Nets of each port, low bit first.
    """

    top: str
    library: Library
    instances: tuple[Instance, ...]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]

    @property
    def cells(self) -> Counter:
        """Instances by cell."""
        return Counter(instance.cell.name for instance in self.instances)

    @property
    def area_um2(self) -> float:
        """Sum of the cells' areas."""
        return sum(instance.cell.area_um2 for instance in self.instances)

    def area_of(self, kind: str) -> float:
        """Area of cells of a kind: `logic`, `flip-flop`, `clock gate`."""
        return sum(i.cell.area_um2 for i in self.instances if i.cell.kind == kind)

    @cached_property
    def clock_nets(self) -> set[int]:
        """Nets on clock pins, and those that clock gates drive."""
        return {
            net
            for i in self.instances
            for name, net in i.nets.items()
            if i.cell.pins[name].clock or (i.cell.kind == "clock gate" and i.cell.pins[name].output)
        }

    @cached_property
    def flip_flop(self) -> Cell:
        """What stands before each input port and behind each output port."""
        return self.library.find("DFF*")

    def driven(self) -> Iterator[tuple[int, Pin]]:
        """(net, pin) of each pin that a net drives, those behind output ports included."""
        (data,) = (pin for pin in self.flip_flop.pins.values() if pin.setup is not None)
        for bits in self.outputs.values():
            yield from ((net, data) for net in bits if net >= 0)
        for instance in self.instances:
            for name, net in instance.nets.items():
                pin = instance.cell.pins[name]
                if not pin.output and net >= 0:
                    yield net, pin

    @cached_property
    def verilog(self) -> str:
        """The netlist as text; net 7 is `n7`."""

        def net(number):
            return f"n{number}" if number >= 0 else f"1'b{-1 - number}"

        ports = {"input": self.inputs, "output": self.outputs}
        lines = [f"module {self.top}({', '.join([*self.inputs, *self.outputs])});"]
        for direction, named in ports.items():
            for name, bits in named.items():
                lines.append(f"  {direction} [{len(bits) - 1}:0] {name};")
        driven = {number for i in self.instances for number in i.nets.values() if number >= 0} | {
            number for named in ports.values() for bits in named.values() for number in bits
        }
        lines += [f"  wire n{number};" for number in sorted(driven) if number >= 0]
        for name, bits in self.inputs.items():
            lines += [f"  assign n{bit} = {name}[{i}];" for i, bit in enumerate(bits)]
        for name, bits in self.outputs.items():
            lines += [f"  assign {name}[{i}] = {net(bit)};" for i, bit in enumerate(bits)]
        for index, instance in enumerate(self.instances):
            pins = ", ".join(f".{pin}({net(bit)})" for pin, bit in instance.nets.items())
            lines.append(f"  {instance.cell.name} i{index}({pins});")
        return "\n".join([*lines, "endmodule", ""])


def read_netlist(top: str, described: dict, library: Library) -> Netlist:
    """The netlist in what Yosys' `write_json` says of a flat module."""
    constants = {"0": -1, "1": -2, "x": -1, "z": -1}

    def number(bit):
        return constants[bit] if isinstance(bit, str) else bit

    instances = tuple(
        Instance(
            name=name,
            cell=library.cells[cell["type"]],
            nets={pin: number(bits[0]) for pin, bits in cell["connections"].items() if bits},
        )
        for name, cell in described["cells"].items()
        if cell["type"] != "$scopeinfo"
    )
    ports = {"input": {}, "output": {}}
    for name, port in described["ports"].items():
        ports[port["direction"]][name] = [number(bit) for bit in port["bits"]]
    return Netlist(
        top=top,
        library=library,
        instances=instances,
        inputs=ports["input"],
        outputs=ports["output"],
    )

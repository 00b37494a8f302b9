"""A design mapped to standard cells: its cells, the nets between them, its area."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .liberty import Cell, CellPin, Library


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance of a cell in a netlist.

    Attributes
    ----------
    nets : dict of str to int
        Number of the net at each pin; -1 is constant 0, -2 constant 1.
    """

    name: str
    cell: Cell
    nets: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """A netlist: instances of library cells, and the nets between them.

    Attributes
    ----------
    top : str
        Name of the module.
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
        """How many instances of each cell there are, by the cell's name."""
        return Counter(instance.cell.name for instance in self.instances)

    @property
    def area_um2(self) -> float:
        """The sum of the cells' areas."""
        return sum(instance.cell.area_um2 for instance in self.instances)

    def area_of(self, kind: str) -> float:
        """The area of all cells of a kind: `logic`, `flip-flop` or `clock gate`."""
        return sum(i.cell.area_um2 for i in self.instances if i.cell.kind == kind)

    @cached_property
    def clock_nets(self) -> set[int]:
        """The nets on clock pins, and the nets that clock gates drive."""
        return {
            net
            for i in self.instances
            for name, net in i.nets.items()
            if i.cell.pins[name].clock or (i.cell.kind == "clock gate" and i.cell.pins[name].output)
        }

    @cached_property
    def flip_flop(self) -> Cell:
        """The cell that stands before each input port and behind each output port."""
        return self.library.find("DFF*")

    def driven(self) -> Iterator[tuple[int, CellPin]]:
        """Each pin that a net drives, as (net, pin); pins behind output ports included."""
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
        """The netlist as Verilog; net 7 is `n7`."""

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
    """The netlist of a flat module that Yosys' `write_json` describes."""
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
    ports: dict[str, dict[str, list[int]]] = {"input": {}, "output": {}}
    for name, port in described["ports"].items():
        ports[port["direction"]][name] = [number(bit) for bit in port["bits"]]
    return Netlist(
        top=top,
        library=library,
        instances=instances,
        inputs=ports["input"],
        outputs=ports["output"],
    )

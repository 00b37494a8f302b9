"""A memory with one write and one read port, as text that every tool infers a RAM from.

Verilog rather than Amaranth's own memory, which spells out the content after power-up word by word:
a gigabyte of zeros for a large act buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritloom.arch.config import Technology

from . import ecp5


@dataclass(frozen=True, kw_only=True)
class Ram:
    """A memory, as a module of its own.

    Ports: clk; write_enable, write_address, write_data; read_enable, read_address, read_data, which
    comes a cycle later and stays until the next read. A read of the word that is being written
    gives either content.

    Attributes
    ----------
    width, depth : int
        Bits of a word, and number of words.
    clocked : bool
        False: read_data is the word at read_address in the same cycle, and there is no read_enable.
    registered : bool
        A second register follows the first, and takes with a port of its own, output_enable, which
        comes with read_enable only.
    technology : Technology
        `ecp5`: where it is registered, block RAM with the register that is built in, which
        synthesis does not infer. Words deeper than one holds are left to synthesis nonetheless.
    """

    width: int
    depth: int
    clocked: bool = True
    registered: bool = False
    technology: Technology = Technology.GENERIC

    @property
    def address_bits(self) -> int:
        """Width of both addresses; at least 1."""
        return max(1, (self.depth - 1).bit_length())

    def verilog(self, name: str) -> str:
        """Verilog of the memory as module `name`."""
        address, word = f"[{self.address_bits - 1}:0]", f"[{self.width - 1}:0]"
        enable = "  input read_enable,\n" if self.clocked else ""
        if self.registered:
            enable += "  input output_enable,\n"
        text = self._cells() or self._words()
        register = "reg " if "read_data <=" in text else ""
        return f"""\
module {name}(
  input clk,
  input write_enable,
  input {address} write_address,
  input {word} write_data,
{enable}  input {address} read_address,
  output {register}{word} read_data
);
{text}endmodule
"""

    def _cells(self):
        """Instances of block RAM; nothing where that is not wanted."""
        if self.technology != Technology.ECP5 or not self.registered:
            return ""
        return ecp5.block_ram(width=self.width, depth=self.depth)

    def _words(self):
        word = f"[{self.width - 1}:0]"
        if self.registered:
            read = f"""\
  reg {word} word;
  always @(posedge clk) if (read_enable) word <= words[read_address];
  always @(posedge clk) if (output_enable) read_data <= word;
"""
        elif self.clocked:
            read = "  always @(posedge clk) if (read_enable) read_data <= words[read_address];\n"
        else:
            read = "  assign read_data = words[read_address];\n"
        # The attribute spares the logic that Yosys adds where a read may meet a write.
        return f"""\
  (* no_rw_check *) reg {word} words [{self.depth - 1}:0];
  always @(posedge clk) if (write_enable) words[write_address] <= write_data;
{read}"""

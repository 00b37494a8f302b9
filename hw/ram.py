"""A memory with one write and one read port, as text that every tool infers a RAM from.

Verilog rather than Amaranth's own memory, which spells out the content after power-up word by word:
a gigabyte of zeros for a large act buffer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ram:
    """A module of its own.

    Ports: clk; write_enable, write_address, write_data; read_enable, read_address, read_data, which
    comes a cycle later and stays until the next read. A read of the word that is being written
    gives either content.

    Attributes
    ----------
    width, depth : int
        Bits of a word, and words.
    clocked : bool
        False: read_data is the word at read_address in the same cycle, and there is no read_enable.
    """

    width: int
    depth: int
    clocked: bool = True

    @property
    def address_bits(self) -> int:
        """Width of both addresses; at least 1."""
        return max(1, (self.depth - 1).bit_length())

    def verilog(self, name: str) -> str:
        """The module's text."""
        address, word = f"[{self.address_bits - 1}:0]", f"[{self.width - 1}:0]"
        if self.clocked:
            enable, register = "  input read_enable,\n", "reg "
            read = "  always @(posedge clk) if (read_enable) read_data <= words[read_address];"
        else:
            enable = register = ""
            read = "  assign read_data = words[read_address];"
        return f"""\
module {name}(
  input clk,
  input write_enable,
  input {address} write_address,
  input {word} write_data,
{enable}  input {address} read_address,
  output {register}{word} read_data
);
  reg {word} words [{self.depth - 1}:0];
  always @(posedge clk) if (write_enable) words[write_address] <= write_data;
{read}
endmodule
"""

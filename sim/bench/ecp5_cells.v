// What simulators take for the cells of Lattice ECP5: those that come with Yosys, and a model of the
// block RAM, of which Yosys has none. Only what hw/parts/ecp5.py instantiates: port A writes, port B reads
// through its output register, both on one clock; a word of 36 bits has the pins of both ports.
`include "common_sim.vh"
`include "ccu2c_sim.vh"

module DP16KD(
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter GSR = "ENABLED";

  // An address counts bits, or bytes of nine; its lowest pins are a wide word's byte enables.
  localparam BELOW = DATA_WIDTH_B == 36 ? 5 : DATA_WIDTH_B == 18 ? 4 : DATA_WIDTH_B == 9 ? 3
    : DATA_WIDTH_B == 4 ? 2 : DATA_WIDTH_B == 2 ? 1 : 0;
  localparam BYTES = DATA_WIDTH_B == 36 ? 4 : DATA_WIDTH_B == 18 ? 2 : 1;
  localparam BITS = DATA_WIDTH_B / BYTES;

  wire [13:0] write_address = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4,
    ADA3, ADA2, ADA1, ADA0};
  wire [13:0] read_address = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4,
    ADB3, ADB2, ADB1, ADB0};
  wire [35:0] data = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
    DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11,
    DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  reg [DATA_WIDTH_B-1:0] words [(1 << (14 - BELOW))-1:0];
  reg [DATA_WIDTH_B-1:0] latch, register;
  integer index;
  wire writes = CEA && WEA && {CSA2, CSA1, CSA0} == 0 && (BYTES == 1 || write_address[0]);
  always @(posedge CLKA)
    if (writes)
      for (index = 0; index < BYTES; index = index + 1)
        if (BYTES == 1 || write_address[index])
          words[write_address >> BELOW][BITS*index +: BITS] <= data[BITS*index +: BITS];
  always @(posedge CLKB) begin
    // The device gives either content of a word that is being written; here it is a wrong one.
    if (CEB && {CSB2, CSB1, CSB0} == 0)
      latch <= words[read_address >> BELOW] ^ {DATA_WIDTH_B{writes && read_address >> BELOW
        == write_address >> BELOW}};
    if (OCEB) register <= latch;
  end
  wire [35:0] out = REGMODE_B == "OUTREG" ? register : latch;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    DOA4, DOA3, DOA2, DOA1, DOA0} = out[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? out[35:18] : out[17:0];
endmodule

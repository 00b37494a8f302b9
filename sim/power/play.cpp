// Plays words into a verilated `player` (see player.py) and keeps what comes out.

#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"

namespace {

void sample(Vtop& top, uint8_t*& to, int64_t stride) {
    if (stride == 0) return;
    top.sample = 1;
    top.eval();
    std::memcpy(to, &top.nets, stride);
    to += stride;
    top.sample = 0;
    top.eval();
}

}  // namespace

extern "C" {

// For each of `cycles` words: a rising edge, nets; a falling edge, nets, outputs. Before the first,
// nets are kept once. Strides are bytes from word to word, of nets from sample to sample.
void player_run(const uint8_t* inputs, int64_t inputs_stride, int64_t cycles, uint8_t* outputs,
                int64_t outputs_stride, uint8_t* nets, int64_t nets_stride) {
    VerilatedContext context;
    Vtop top{&context};
    top.clk = top.sample = 0;
    top.eval();
    sample(top, nets, nets_stride);
    for (int64_t cycle = 0; cycle < cycles; ++cycle) {
        std::memcpy(&top.inputs, inputs + cycle * inputs_stride, inputs_stride);
        top.clk = 1;
        top.eval();
        sample(top, nets, nets_stride);
        top.clk = 0;
        top.eval();
        sample(top, nets, nets_stride);
        std::memcpy(outputs + cycle * outputs_stride, &top.outputs, outputs_stride);
    }
    top.final();
}
}

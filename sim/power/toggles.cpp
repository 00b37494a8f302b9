// Drives the verilated array from Python through ctypes and records the activity of its nets.
//
// Nets are sampled once a clock cycle, settled and before the rising edge. A net that differs from
// its sample of the cycle before has toggled once; what it did in between, glitches, does not count.

#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_saif_c.h"

extern "C" {

// Feeds `beats` beats of both streams, one in every cycle whose entry in `offers` (repeated after
// `period` cycles) is not 0, and runs until `rows` rows of psums came out, or for `limit` cycles.
// In a cycle without an offer the payload is that of some other beat, as a stream's may be.
// Returns the rows that came out. Strides are bytes from beat to beat.
int64_t activity_run(const char* saif, const uint8_t* acts, int64_t acts_stride,
                     const uint8_t* trits, int64_t trits_stride, const uint8_t* last,
                     int64_t tokens, int64_t beats, const uint8_t* offers, int64_t period,
                     uint8_t* psums, int64_t psums_stride, int64_t rows, int64_t limit) {
    VerilatedContext context;
    context.traceEverOn(true);
    Vtop top{&context};
    VerilatedSaifC trace;
    top.trace(&trace, 99);
    top.rst = 1;
    for (int half = 0; half < 4; ++half) {
        top.clk = half & 1;
        top.eval();
    }
    top.rst = 0;
    top.psums_ready = 1;
    top.acts_tokens = tokens;
    trace.open(saif);
    int64_t beat = 0, out = 0, cycle = 0;
    for (; cycle < limit && out < rows; ++cycle) {
        const bool offer = beat < beats && offers[cycle % period];
        const int64_t shown = offer ? beat : (beat * 7 + cycle) % beats;
        std::memcpy(&top.acts_data, acts + shown * acts_stride, sizeof top.acts_data);
        std::memcpy(&top.trits_data, trits + shown * trits_stride, sizeof top.trits_data);
        top.acts_last = last[shown];
        top.acts_valid = top.trits_valid = offer;
        top.clk = 0;
        top.eval();
        trace.dump(static_cast<uint64_t>(cycle));
        beat += offer && top.acts_ready;
        if (top.psums_valid) {
            std::memcpy(psums + out * psums_stride, &top.psums_data, sizeof top.psums_data);
            ++out;
        }
        top.clk = 1;
        top.eval();
    }
    trace.close();
    top.final();
    return out;
}
}

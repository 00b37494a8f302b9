// Drives the verilated array from Python through ctypes: streams in, psums out, no event queue.
//
// A beat is a padded little-endian field string, as sim.streams.pack_fields makes it. Tiles name
// their beats by offset, so operands that several tiles share are in memory once.

#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Machine {
    VerilatedContext context;
    Vtop top{&context};
    uint64_t cycles = 0;
};

template <typename Port>
void load(Port& port, const uint8_t* beat) {
    std::memcpy(&port, beat, sizeof(port));
}

int64_t field(const uint8_t* bytes, int index, int bits) {
    const int64_t start = int64_t(index) * bits;
    uint64_t word = 0;
    for (int i = 0; i <= (bits + 7) / 8; ++i)
        word |= uint64_t(bytes[start / 8 + i]) << (8 * i);
    word >>= start % 8;
    return int64_t(word << (64 - bits)) >> (64 - bits);
}

}  // namespace

extern "C" {

struct Tile {
    int64_t acts;    // index of its first beat in the act beats
    int64_t trits;   // index of its first beat in the trit beats
    int64_t slices;  // beats
    int64_t tokens;  // psum beats to expect
};

void* machine_new() {
    auto* machine = new Machine;
    auto& top = machine->top;
    top.rst = 1;
    for (int edge = 0; edge < 4; ++edge) {
        top.clk = edge & 1;
        top.eval();
    }
    top.rst = 0;
    top.clk = 0;
    return machine;
}

void machine_delete(void* handle) { delete static_cast<Machine*>(handle); }

uint64_t machine_cycles(void* handle) { return static_cast<Machine*>(handle)->cycles; }

void machine_counters(void* handle, uint32_t* out) {
    const auto& top = static_cast<Machine*>(handle)->top;
    out[0] = top.perf_beats;
    out[1] = top.perf_wait_acts;
    out[2] = top.perf_wait_trits;
    out[3] = top.perf_wait_drain;
    out[4] = top.perf_blocked;
    out[5] = top.illegal;
}

// Streams all beats of the tiles, and stops when `wanted` psum beats have come out (and no sooner
// than all beats are in). Returns the psum beats written, or -1 after `limit` cycles.
int64_t machine_run(void* handle, const uint8_t* acts, int64_t acts_stride, const uint8_t* trits,
                    int64_t trits_stride, const Tile* tiles, int64_t tile_count, int32_t* psums,
                    int cols, int psum_bits, int64_t wanted, int64_t limit) {
    auto* machine = static_cast<Machine*>(handle);
    auto& top = machine->top;
    // Room for a read of eight bytes past the last field.
    uint8_t row[sizeof(top.psums_data) + 16] = {};
    int64_t tile = 0, slice = 0, taken = 0;
    top.psums_ready = 1;
    while (tile < tile_count || taken < wanted) {
        if (limit-- == 0) return -1;
        const bool offer = tile < tile_count;
        top.acts_valid = top.trits_valid = offer;
        if (offer) {
            load(top.acts_data, acts + (tiles[tile].acts + slice) * acts_stride);
            load(top.trits_data, trits + (tiles[tile].trits + slice) * trits_stride);
            top.acts_last = slice == tiles[tile].slices - 1;
            top.acts_tokens = tiles[tile].tokens;
        }
        top.clk = 0;
        top.eval();
        if (top.psums_valid) {
            std::memcpy(row, &top.psums_data, sizeof(top.psums_data));
            for (int col = 0; col < cols; ++col)
                psums[taken * cols + col] = int32_t(field(row, col, psum_bits));
            ++taken;
        }
        if (offer && top.acts_ready && ++slice == tiles[tile].slices) {
            slice = 0;
            ++tile;
        }
        top.clk = 1;
        top.eval();
        ++machine->cycles;
    }
    return taken;
}
}

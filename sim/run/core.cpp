// Drives the verilated core from Python through ctypes: registers, streams, no event queue.
//
// Streams are always ready and offer a beat in every cycle as long as they have one.

#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Stream {
    const uint8_t* beats;
    int64_t stride;   // bytes from beat to beat
    int64_t packet;   // beats from TLAST to TLAST
    int64_t total;    // beats to send; the last packet may be shorter
    int64_t period;   // beats after which they begin again from the first
};

struct Machine {
    VerilatedContext context;
    Vtop top{&context};
    uint64_t cycles = 0;
    Stream acts{}, weights{};
    int64_t acts_beat = 0, weights_beat = 0;
    uint8_t* psums = nullptr;
    int64_t row_bytes = 0, rows_wanted = 0, rows = 0;
    uint64_t first = 0, last = 0;  // cycle of the first beat in, of the last row out
    bool started = false;

    void low() {
        top.clk = 0;
        top.eval();
    }

    void high() {
        top.clk = 1;
        top.eval();
        ++cycles;
    }
};

template <typename Port>
void copy_in(Port& port, const uint8_t* bytes, int64_t count) {
    std::memcpy(&port, bytes, count);
}

template <typename Port, typename Flag>
void offer(const Stream& stream, int64_t beat, Port& data, Flag& last, Flag& valid) {
    valid = beat < stream.total;
    if (!valid) return;
    copy_in(data, stream.beats + beat % stream.period * stream.stride, stream.stride);
    last = beat % stream.packet == stream.packet - 1 || beat == stream.total - 1;
}

}  // namespace

extern "C" {

void* machine_new() {
    auto* machine = new Machine;
    machine->top.rst = 1;
    for (int cycle = 0; cycle < 2; ++cycle) {
        machine->low();
        machine->high();
    }
    machine->top.rst = 0;
    machine->cycles = 0;
    return machine;
}

void machine_delete(void* handle) { delete static_cast<Machine*>(handle); }

// Returns the response, or -1 where none comes.
int machine_write(void* handle, uint32_t address, uint32_t word) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    top.s_axil_awaddr = address;
    top.s_axil_wdata = word;
    top.s_axil_wstrb = 15;
    top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
    for (int cycle = 0; cycle < 100; ++cycle) {
        machine.low();
        const bool address_taken = top.s_axil_awready, word_taken = top.s_axil_wready;
        const int answer = top.s_axil_bvalid ? top.s_axil_bresp : -1;
        machine.high();
        if (address_taken) top.s_axil_awvalid = 0;
        if (word_taken) top.s_axil_wvalid = 0;
        if (answer >= 0) {
            top.s_axil_bready = 0;
            return answer;
        }
    }
    return -1;
}

// Returns the word, or -1 where no answer or an error comes.
int64_t machine_read(void* handle, uint32_t address) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    top.s_axil_araddr = address;
    top.s_axil_arvalid = top.s_axil_rready = 1;
    for (int cycle = 0; cycle < 100; ++cycle) {
        machine.low();
        const bool address_taken = top.s_axil_arready, answered = top.s_axil_rvalid;
        const int64_t word = top.s_axil_rresp ? -1 : int64_t(top.s_axil_rdata);
        machine.high();
        if (address_taken) top.s_axil_arvalid = 0;
        if (answered) {
            top.s_axil_rready = 0;
            return word;
        }
    }
    return -1;
}

void machine_start(void* handle, const Stream* acts, const Stream* weights, uint8_t* psums,
                   int64_t row_bytes, int64_t rows) {
    auto& machine = *static_cast<Machine*>(handle);
    machine.acts = *acts;
    machine.weights = *weights;
    machine.acts_beat = machine.weights_beat = machine.rows = 0;
    machine.psums = psums;
    machine.row_bytes = row_bytes;
    machine.rows_wanted = rows;
    machine.started = false;
}

// Runs up to so many cycles; returns the rows of psums that have come out since the start.
int64_t machine_step(void* handle, int64_t cycles) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    top.m_axis_psums_tready = 1;
    while (machine.rows < machine.rows_wanted && cycles-- > 0) {
        offer(machine.acts, machine.acts_beat, top.s_axis_acts_tdata, top.s_axis_acts_tlast,
              top.s_axis_acts_tvalid);
        offer(machine.weights, machine.weights_beat, top.s_axis_weights_tdata,
              top.s_axis_weights_tlast, top.s_axis_weights_tvalid);
        machine.low();
        const bool acts = top.s_axis_acts_tvalid && top.s_axis_acts_tready;
        const bool weights = top.s_axis_weights_tvalid && top.s_axis_weights_tready;
        if (!machine.started && (acts || weights)) {
            machine.started = true;
            machine.first = machine.cycles;
        }
        machine.acts_beat += acts;
        machine.weights_beat += weights;
        if (top.m_axis_psums_tvalid) {
            std::memcpy(machine.psums + machine.rows * machine.row_bytes, &top.m_axis_psums_tdata,
                        machine.row_bytes);
            ++machine.rows;
            machine.last = machine.cycles;
        }
        machine.high();
    }
    top.s_axis_acts_tvalid = top.s_axis_weights_tvalid = top.m_axis_psums_tready = 0;
    return machine.rows;
}

// After a soft reset: sends the rest of the packets that have begun, and takes psums, for so many
// cycles. The core drops the one, and this the other.
void machine_flush(void* handle, int64_t cycles) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    const auto begun = [](const Stream& stream, int64_t beat) {
        return beat < stream.total && beat % stream.packet != 0;
    };
    top.m_axis_psums_tready = 1;
    while (cycles-- > 0) {
        top.s_axis_acts_tvalid = top.s_axis_weights_tvalid = 0;
        if (begun(machine.acts, machine.acts_beat))
            offer(machine.acts, machine.acts_beat, top.s_axis_acts_tdata, top.s_axis_acts_tlast,
                  top.s_axis_acts_tvalid);
        if (begun(machine.weights, machine.weights_beat))
            offer(machine.weights, machine.weights_beat, top.s_axis_weights_tdata,
                  top.s_axis_weights_tlast, top.s_axis_weights_tvalid);
        machine.low();
        machine.acts_beat += top.s_axis_acts_tvalid && top.s_axis_acts_tready;
        machine.weights_beat += top.s_axis_weights_tvalid && top.s_axis_weights_tready;
        machine.high();
    }
    top.s_axis_acts_tvalid = top.s_axis_weights_tvalid = top.m_axis_psums_tready = 0;
}

// Cycles from the first beat in to the last row out, both included.
int64_t machine_span(void* handle) {
    const auto& machine = *static_cast<Machine*>(handle);
    return int64_t(machine.last - machine.first + 1);
}
}

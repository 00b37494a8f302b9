// The C driver on the verilated core: an AXI4-Lite bus and three AXI4-Streams with random stalls,
// pin by pin, and software that calls the driver as an integrator would.
//
// What lies on the streams comes from the driver alone. It is loaded by the path of its library, so
// that one build of the core serves drivers with faults as well.

#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "Vtop.h"
#include "tritloom.h"
#include "verilated.h"

namespace {

constexpr int LIMIT_CYCLES = 200'000;

struct Driver {
    void* library = nullptr;
#define FUNCTION(name) decltype(&tritloom_##name) name = nullptr
    FUNCTION(open);
    FUNCTION(reset);
    FUNCTION(flush_state);
    FUNCTION(resume);
    FUNCTION(push);
    FUNCTION(wait);
    FUNCTION(acts_size);
    FUNCTION(weights_size);
    FUNCTION(psums_size);
    FUNCTION(acts_begin);
    FUNCTION(acts_fill);
    FUNCTION(weights_begin);
    FUNCTION(image_begin);
    FUNCTION(weights_fill);
    FUNCTION(psums_begin);
    FUNCTION(psums_take);
    FUNCTION(psums_done);
    FUNCTION(irq_enable);
    FUNCTION(irq_acknowledge);
    FUNCTION(errors);
    FUNCTION(errors_clear);
    FUNCTION(counters_read);
#undef FUNCTION

    template <typename F>
    void find(F& function, const char* name) {
        function = reinterpret_cast<F>(dlsym(library, name));
    }

    bool load(const char* path) {
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return false;
#define FIND(name) find(name, "tritloom_" #name)
        FIND(open);
        FIND(reset);
        FIND(flush_state);
        FIND(resume);
        FIND(push);
        FIND(wait);
        FIND(acts_size);
        FIND(weights_size);
        FIND(psums_size);
        FIND(acts_begin);
        FIND(acts_fill);
        FIND(weights_begin);
        FIND(image_begin);
        FIND(weights_fill);
        FIND(psums_begin);
        FIND(psums_take);
        FIND(psums_done);
        FIND(irq_enable);
        FIND(irq_acknowledge);
        FIND(errors);
        FIND(errors_clear);
        FIND(counters_read);
#undef FIND
        return counters_read != nullptr;
    }
};

// One run, as Python states it.
struct Case {
    uint32_t m, k, n, packing, psums_last;
    const int8_t* acts;
    const int8_t* trits;    // or null, and
    const uint8_t* image;   // packed weights
    uint64_t image_bytes;
    int32_t* psums;
    int64_t wrong_acts_last;     // byte-exact packet, but TLAST of this beat is inverted; -1: none
    int64_t wrong_weights_last;  // the same
};

struct Beat {
    std::vector<uint8_t> bytes;
    bool last;
};

struct Machine {
    VerilatedContext context;
    Vtop top{&context};
    Driver driver;
    tritloom_core core{};
    std::mt19937_64 random;
    int stall_percent = 0;
    uint64_t cycles = 0;
    bool failed = false;  // a rule of AXI was broken, or a fill failed

    std::vector<Case> cases;
    size_t sending_acts = 0, sending_weights = 0, taking = 0;  // cases under way on each stream
    tritloom_acts acts{};
    tritloom_weights weights{};
    tritloom_psums psums{};
    bool acts_open = false, weights_open = false, psums_open = false;
    std::vector<uint8_t> acts_part, weights_part;  // bytes that make no beat yet
    int64_t acts_beat = 0, weights_beat = 0;
    uint64_t psums_beat = 0;
    uint64_t acts_sent = 0, weights_sent = 0;  // bytes of the run, against the size foretold
    std::deque<Beat> acts_queue, weights_queue;
    tritloom_result fill_result = TRITLOOM_OKAY;
    uint64_t interrupts = 0;
    bool running = false;
    bool discarding = false;  // psums of runs that a reset dropped

    bool stalls() { return static_cast<int>(random() % 100) < stall_percent; }
    size_t pick(size_t most) { return 1 + random() % most; }

    // Bytes of a fill into beats; the driver ends a packet with the last byte only.
    bool beats(std::vector<uint8_t>& part, const uint8_t* bytes, size_t count, bool last,
               size_t beat_bytes, std::deque<Beat>& queue, int64_t& beat, int64_t wrong) {
        for (size_t i = 0; i < count; ++i) {
            part.push_back(bytes[i]);
            if (part.size() < beat_bytes) continue;
            const bool ends = last && i + 1 == count;
            queue.push_back({part, ends != (beat == wrong)});
            ++beat;
            part.clear();
        }
        return !last || part.empty();
    }

    void next_acts() {
        uint8_t buffer[64];
        if (sending_acts == cases.size() || fill_result != TRITLOOM_OKAY) return;
        const Case& one = cases[sending_acts];
        const tritloom_run run{one.m, one.k, one.n, static_cast<tritloom_packing>(one.packing),
                               static_cast<tritloom_psums_last>(one.psums_last)};
        tritloom_size size{};
        fill_result = driver.acts_size(&core, &run, &size);
        if (!acts_open && fill_result == TRITLOOM_OKAY) {
            fill_result = driver.acts_begin(&acts, &core, &run, one.acts, one.k);
            acts_open = true;
            acts_beat = 0;
            acts_sent = 0;
        }
        size_t count = 0;
        bool last = false;
        if (fill_result == TRITLOOM_OKAY)
            fill_result = driver.acts_fill(&acts, buffer, pick(sizeof buffer), &count, &last);
        if (fill_result != TRITLOOM_OKAY) return;
        acts_sent += count;
        if (count == 0) {
            failed |= acts_sent != size.bytes;
            acts_open = false;
            ++sending_acts;
        }
        failed |= !beats(acts_part, buffer, count, last, size.beat_bytes, acts_queue, acts_beat,
                         one.wrong_acts_last);
    }

    void next_weights() {
        uint8_t buffer[64];
        if (sending_weights == cases.size() || fill_result != TRITLOOM_OKAY) return;
        const Case& one = cases[sending_weights];
        const tritloom_run run{one.m, one.k, one.n, static_cast<tritloom_packing>(one.packing),
                               static_cast<tritloom_psums_last>(one.psums_last)};
        tritloom_size size{};
        fill_result = driver.weights_size(&core, &run, &size);
        if (!weights_open && fill_result == TRITLOOM_OKAY) {
            fill_result = one.trits != nullptr
                              ? driver.weights_begin(&weights, &core, &run, one.trits, one.k)
                              : driver.image_begin(&weights, &core, &run, one.image,
                                                   static_cast<size_t>(one.image_bytes));
            weights_open = true;
            weights_beat = 0;
            weights_sent = 0;
        }
        size_t count = 0;
        bool last = false;
        if (fill_result == TRITLOOM_OKAY)
            fill_result = driver.weights_fill(&weights, buffer, pick(sizeof buffer), &count, &last);
        if (fill_result != TRITLOOM_OKAY) return;
        weights_sent += count;
        if (count == 0) {
            failed |= weights_sent != size.bytes;
            weights_open = false;
            ++sending_weights;
        }
        failed |= !beats(weights_part, buffer, count, last, size.beat_bytes, weights_queue,
                         weights_beat, one.wrong_weights_last);
    }

    void take_psums(const std::vector<uint8_t>& bytes, bool last) {
        size_t done = 0;
        while (done < bytes.size()) {
            if (taking == cases.size()) {
                failed = true;
                return;
            }
            const Case& one = cases[taking];
            const tritloom_run run{one.m, one.k, one.n, static_cast<tritloom_packing>(one.packing),
                               static_cast<tritloom_psums_last>(one.psums_last)};
            if (!psums_open) {
                failed |= driver.psums_begin(&psums, &core, &run, one.psums, one.n) != 0;
                psums_open = true;
                psums_beat = 0;
            }
            if (done == 0) {
                // TLAST is where the driver foretells it.
                tritloom_size size{};
                failed |= driver.psums_size(&core, &run, &size) != 0;
                ++psums_beat;
                failed |= last != (psums_beat % size.packet_beats == 0 || psums_beat == size.beats);
            }
            const size_t offered = std::min(pick(9), bytes.size() - done);
            const size_t taken = driver.psums_take(&psums, bytes.data() + done, offered);
            done += taken;
            if (driver.psums_done(&psums)) {
                psums_open = false;
                ++taking;
            } else if (taken != offered) {
                failed = true;
                return;
            }
        }
    }

    template <typename Data>
    static void show(Data& pins, const std::vector<uint8_t>& bytes) {
        std::memset(static_cast<void*>(&pins), 0, sizeof pins);
        std::memcpy(static_cast<void*>(&pins), bytes.data(), bytes.size());
    }

    // One clock cycle. An offer stays until it is taken.
    void tick() {
        while (acts_queue.size() < 4 && (sending_acts < cases.size()) && !fill_result) next_acts();
        while (weights_queue.size() < 4 && (sending_weights < cases.size()) && !fill_result)
            next_weights();
        if (!top.s_axis_acts_tvalid && !acts_queue.empty() && !stalls()) {
            top.s_axis_acts_tvalid = 1;
            top.s_axis_acts_tlast = acts_queue.front().last;
            show(top.s_axis_acts_tdata, acts_queue.front().bytes);
        }
        if (!top.s_axis_weights_tvalid && !weights_queue.empty() && !stalls()) {
            top.s_axis_weights_tvalid = 1;
            top.s_axis_weights_tlast = weights_queue.front().last;
            show(top.s_axis_weights_tdata, weights_queue.front().bytes);
        }
        top.m_axis_psums_tready = !stalls();
        top.clk = 0;
        top.eval();
        const bool acts_taken = top.s_axis_acts_tvalid && top.s_axis_acts_tready;
        const bool weights_taken = top.s_axis_weights_tvalid && top.s_axis_weights_tready;
        std::vector<uint8_t> psum_bytes;
        const bool psums_last = top.m_axis_psums_tlast;
        if (top.m_axis_psums_tvalid && top.m_axis_psums_tready) {
            psum_bytes.resize(4 * core.cols);
            std::memcpy(psum_bytes.data(), static_cast<void*>(&top.m_axis_psums_tdata),
                        psum_bytes.size());
        }
        top.clk = 1;
        top.eval();
        ++cycles;
        if (acts_taken) {
            acts_queue.pop_front();
            top.s_axis_acts_tvalid = 0;
        }
        if (weights_taken) {
            weights_queue.pop_front();
            top.s_axis_weights_tvalid = 0;
        }
        if (!psum_bytes.empty() && !discarding) take_psums(psum_bytes, psums_last);
    }

    bool write(uint32_t offset, uint32_t word) {
        bool address = false, data = false;
        for (int waited = 0; waited < LIMIT_CYCLES; ++waited) {
            if (!address && !top.s_axil_awvalid && !stalls()) {
                top.s_axil_awvalid = 1;
                top.s_axil_awaddr = offset;
            }
            if (!data && !top.s_axil_wvalid && !stalls()) {
                top.s_axil_wvalid = 1;
                top.s_axil_wdata = word;
                top.s_axil_wstrb = 0xf;
            }
            top.s_axil_bready = !stalls();
            top.clk = 0;
            top.eval();
            const bool address_taken = top.s_axil_awvalid && top.s_axil_awready;
            const bool data_taken = top.s_axil_wvalid && top.s_axil_wready;
            const bool answered = top.s_axil_bvalid && top.s_axil_bready;
            const bool okay = top.s_axil_bresp == 0;
            tick();
            if (address_taken) address = true, top.s_axil_awvalid = 0;
            if (data_taken) data = true, top.s_axil_wvalid = 0;
            if (answered) {
                top.s_axil_bready = 0;
                return address && data && okay;
            }
        }
        return false;
    }

    bool read(uint32_t offset, uint32_t* word) {
        // What is not sent is not waited for.
        if (running && fill_result != TRITLOOM_OKAY) return false;
        bool address = false;
        for (int waited = 0; waited < LIMIT_CYCLES; ++waited) {
            if (!address && !top.s_axil_arvalid && !stalls()) {
                top.s_axil_arvalid = 1;
                top.s_axil_araddr = offset;
            }
            top.s_axil_rready = !stalls();
            top.clk = 0;
            top.eval();
            const bool address_taken = top.s_axil_arvalid && top.s_axil_arready;
            const bool answered = top.s_axil_rvalid && top.s_axil_rready;
            const bool okay = top.s_axil_rresp == 0;
            *word = top.s_axil_rdata;
            tick();
            if (address_taken) address = true, top.s_axil_arvalid = 0;
            if (answered) {
                top.s_axil_rready = 0;
                return address && okay;
            }
        }
        return false;
    }
};

bool read_word(void* bus, uint32_t offset, uint32_t* word) {
    return static_cast<Machine*>(bus)->read(offset, word);
}

bool write_word(void* bus, uint32_t offset, uint32_t word) {
    return static_cast<Machine*>(bus)->write(offset, word);
}

// Beyond the results of the driver.
enum { NO_LIBRARY = 100, BROKEN_STREAM, NO_INTERRUPT, INTERRUPT_STAYS };

}  // namespace

extern "C" {

// The core out of reset, behind a driver; null where the driver's library does not load.
void* machine_new(const char* driver, uint64_t seed, int stall_percent) {
    auto* machine = new Machine;
    if (!machine->driver.load(driver)) {
        delete machine;
        return nullptr;
    }
    machine->random.seed(seed);
    machine->top.rst = 1;
    for (int cycle = 0; cycle < 4; ++cycle) machine->tick();
    machine->top.rst = 0;
    machine->stall_percent = stall_percent;
    return machine;
}

// Cycles from the end of reset to the one in which a read is taken that was offered all the time.
int machine_first_read_taken(void* handle) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    top.rst = 1;
    machine.tick();
    top.rst = 0;
    top.s_axil_arvalid = 1;
    for (int cycle = 0; cycle < LIMIT_CYCLES; ++cycle) {
        top.clk = 0;
        top.eval();
        const bool taken = top.s_axil_arready;
        machine.tick();
        if (!taken) continue;
        top.s_axil_arvalid = 0;
        top.s_axil_rready = 1;
        for (int more = 0; more < 4; ++more) machine.tick();
        return cycle;
    }
    return -1;
}

void machine_delete(void* machine) { delete static_cast<Machine*>(machine); }

int machine_open(void* handle, tritloom_core* core) {
    auto* machine = static_cast<Machine*>(handle);
    const int result = machine->driver.open(&machine->core, read_word, write_word, machine);
    *core = machine->core;
    return result;
}

int machine_read(void* handle, uint32_t offset, uint32_t* word) {
    return static_cast<Machine*>(handle)->read(offset, word);
}

int machine_write(void* handle, uint32_t offset, uint32_t word) {
    return static_cast<Machine*>(handle)->write(offset, word);
}

uint64_t machine_cycles(void* handle) { return static_cast<Machine*>(handle)->cycles; }

uint64_t machine_interrupts(void* handle) { return static_cast<Machine*>(handle)->interrupts; }

}

static int run_all(Machine& machine, const Case* cases, int count, bool by_interrupt) {
    auto& driver = machine.driver;
    auto* core = &machine.core;
    machine.cases.assign(cases, cases + count);
    machine.sending_acts = machine.sending_weights = machine.taking = 0;
    int result = driver.irq_enable(core, by_interrupt, false);
    if (result != TRITLOOM_OKAY) return result;
    uint16_t number = 0;
    int pushed = 0, patience = LIMIT_CYCLES;
    while (pushed < count) {
        const Case& one = cases[pushed];
        const tritloom_run run{one.m, one.k, one.n, static_cast<tritloom_packing>(one.packing),
                               static_cast<tritloom_psums_last>(one.psums_last)};
        result = driver.push(core, &run, &number);
        if (result == TRITLOOM_OKAY) {
            ++pushed;
        } else if (result != TRITLOOM_FAIL_QUEUE_FULL || --patience == 0) {
            return result;
        }
    }
    if (!by_interrupt) {
        result = driver.wait(core, number, LIMIT_CYCLES);
        if (result != TRITLOOM_OKAY) return result;
    }
    while (by_interrupt) {
        while (!machine.top.irq && !machine.fill_result && --patience > 0) machine.tick();
        if (!machine.top.irq) return NO_INTERRUPT;
        bool done = false;
        result = driver.irq_acknowledge(core, &done);
        if (result != TRITLOOM_OKAY || !done) return result != TRITLOOM_OKAY ? result : NO_INTERRUPT;
        ++machine.interrupts;
        result = driver.wait(core, number, 1);
        if (result == TRITLOOM_OKAY) {
            // The last run may have ended between the acknowledgement and the poll.
            if (machine.top.irq) driver.irq_acknowledge(core, &done);
            if (machine.top.irq) return INTERRUPT_STAYS;
            break;
        }
        if (result != TRITLOOM_FAIL_TIMEOUT) return result;
    }
    for (int cycle = 0; cycle < 200; ++cycle) machine.tick();
    const bool over = machine.acts_queue.empty() && machine.weights_queue.empty() &&
                      machine.taking == machine.cases.size() && !machine.psums_open;
    return machine.failed || !over ? BROKEN_STREAM : TRITLOOM_OKAY;
}

extern "C" {

// Run all cases, as many in the queue as fit, waiting for the interrupt or by polling.
int machine_run(void* handle, const Case* cases, int count, bool by_interrupt) {
    auto& machine = *static_cast<Machine*>(handle);
    machine.running = true;
    const int result = run_all(machine, cases, count, by_interrupt);
    machine.running = false;
    return machine.fill_result != TRITLOOM_OKAY ? machine.fill_result : result;
}

int machine_errors(void* handle, uint32_t* bits, uint32_t* first_illegal) {
    auto& machine = *static_cast<Machine*>(handle);
    tritloom_report report{};
    const int result = machine.driver.errors(&machine.core, &report);
    *bits = report.bits;
    *first_illegal = report.first_illegal;
    return result;
}

int machine_errors_clear(void* handle, uint32_t bits) {
    auto& machine = *static_cast<Machine*>(handle);
    return machine.driver.errors_clear(&machine.core, bits);
}

int machine_counters(void* handle, tritloom_counters* counters) {
    auto& machine = *static_cast<Machine*>(handle);
    return machine.driver.counters_read(&machine.core, counters);
}

int machine_push(void* handle, uint32_t m, uint32_t k, uint32_t n, int packing) {
    auto& machine = *static_cast<Machine*>(handle);
    const tritloom_run run{m, k, n, static_cast<tritloom_packing>(packing),
                           TRITLOOM_LAST_OF_RUN};
    return machine.driver.push(&machine.core, &run, nullptr);
}

// Reset in the midst of whatever is under way. What the streams have not offered yet is forgotten;
// a packet that began is ended by one beat.
int machine_reset(void* handle) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& driver = machine.driver;
    auto* core = &machine.core;
    int result = driver.reset(core);
    if (result != TRITLOOM_OKAY) return result;
    machine.discarding = true;
    machine.cases.clear();
    machine.sending_acts = machine.sending_weights = machine.taking = 0;
    machine.acts_open = machine.weights_open = machine.psums_open = false;
    machine.acts_part.clear();
    machine.weights_part.clear();
    machine.acts_queue.resize(machine.top.s_axis_acts_tvalid);
    machine.weights_queue.resize(machine.top.s_axis_weights_tvalid);
    tritloom_flush flush{};
    do {
        result = driver.flush_state(core, &flush);
        if (result != TRITLOOM_OKAY) return result;
        if (!flush.flushing) return BROKEN_STREAM;
    } while (!machine.acts_queue.empty() || !machine.weights_queue.empty() || flush.psum_offered);
    if (flush.acts_open) {
        tritloom_size size{};
        const tritloom_run run{1, 1, 1, TRITLOOM_TRIT2, TRITLOOM_LAST_OF_RUN};
        driver.acts_size(core, &run, &size);
        machine.acts_queue.push_back({std::vector<uint8_t>(size.beat_bytes), true});
    }
    if (flush.weights_open) {
        tritloom_size size{};
        const tritloom_run run{1, 1, 1, TRITLOOM_TRIT2, TRITLOOM_LAST_OF_RUN};
        driver.weights_size(core, &run, &size);
        machine.weights_queue.push_back({std::vector<uint8_t>(size.beat_bytes), true});
    }
    const tritloom_run one{1, 1, 1, TRITLOOM_TRIT2, TRITLOOM_LAST_OF_RUN};
    if (driver.push(core, &one, nullptr) != TRITLOOM_FAIL_FLUSHING) return BROKEN_STREAM;
    result = driver.resume(core, LIMIT_CYCLES);
    machine.discarding = false;
    machine.failed = false;
    return result;
}

// Begin cases and leave them in their midst.
int machine_begin(void* handle, const Case* cases, int count, int cycles) {
    auto& machine = *static_cast<Machine*>(handle);
    machine.cases.assign(cases, cases + count);
    machine.sending_acts = machine.sending_weights = machine.taking = 0;
    for (int pushed = 0; pushed < count; ++pushed) {
        const Case& one = cases[pushed];
        const tritloom_run run{one.m, one.k, one.n, static_cast<tritloom_packing>(one.packing),
                               static_cast<tritloom_psums_last>(one.psums_last)};
        const int result = machine.driver.push(&machine.core, &run, nullptr);
        if (result != TRITLOOM_OKAY) return result;
    }
    for (int cycle = 0; cycle < cycles; ++cycle) machine.tick();
    return TRITLOOM_OKAY;
}

}

// A run of the soak: queued products, random stalls on every stream, register accesses meanwhile.
//
// Each row of psums is held against a plain integer product as it leaves. An offered beat stays
// until it is taken, as AXI wants it.

#include "core.cpp"

namespace {

struct Side {
    const uint8_t* beats;
    const uint8_t* last;  // TLAST of each beat
    int64_t stride;       // bytes from beat to beat
    int64_t total;
    double pause, resume;  // chance in a cycle that a pause begins, that it ends
    int64_t moved;         // beats taken
    int64_t held;          // cycles, from the first beat in, in which this side held the core up
};

struct Product {
    const int8_t* acts;   // m x k
    const int8_t* trits;  // n x k
    int64_t m, k, n;
};

struct Access {
    uint32_t address, word;
};

struct Soak {
    Side acts, weights, psums;
    const Product* products;
    int64_t product_count;
    int64_t group_tokens, cols;
    const Access* writes;  // of all descriptors
    int64_t write_count;
    const Access* constants;  // registers and what they must read
    int64_t constant_count;
    uint32_t push_address, status_address, full_mask;
    uint32_t preloaded;  // all descriptors are in the queue before a beat is offered
    double chat;         // chance of a register read in a cycle without one
    uint64_t seed;
    int64_t span;  // cycles from the first beat in to the last row out
    int64_t product, token, feature, seen, wanted;  // of what is wrong
};

enum Answer { RIGHT, PSUM, PSUM_LAST, SURPLUS, REGISTER, REFUSED, HANGS, LEFT };

constexpr int64_t PATIENCE = 20000, TAIL = 100;

// splitmix64
struct Random {
    uint64_t state;

    uint64_t next() {
        uint64_t word = state += 0x9e3779b97f4a7c15;
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
        word = (word ^ word >> 27) * 0x94d049bb133111eb;
        return word ^ word >> 31;
    }

    bool chance(double share) { return double(next() >> 11) < share * 0x1p53; }
};

// Whether a side pauses in the next cycle.
bool pauses(Random& random, const Side& side, bool paused) {
    return paused ? !random.chance(side.resume) : random.chance(side.pause);
}

// The rows of psums in the order in which they must leave.
struct Rows {
    const Soak& soak;
    int64_t product = 0, m0 = 0, n0 = 0, token = 0;

    bool over() const { return product == soak.product_count; }

    void next() {
        const auto& of = soak.products[product];
        if (++token < soak.group_tokens && m0 + token < of.m) return;
        token = 0;
        if ((n0 += soak.cols) < of.n) return;
        n0 = 0;
        if ((m0 += soak.group_tokens) < of.m) return;
        m0 = 0;
        ++product;
    }

    int64_t psum(int64_t col) const {
        const auto& of = soak.products[product];
        if (n0 + col >= of.n) return 0;
        const int8_t* acts = of.acts + (m0 + token) * of.k;
        const int8_t* trits = of.trits + (n0 + col) * of.k;
        int32_t sum = 0;
        for (int64_t i = 0; i < of.k; ++i) sum += acts[i] * trits[i];
        return sum;
    }
};

template <typename Port, typename Flag>
void offer(const Side& side, bool offered, Port& data, Flag& last, Flag& valid) {
    valid = offered;
    if (!offered) return;
    copy_in(data, side.beats + side.moved * side.stride, side.stride);
    last = side.last[side.moved];
}

// One access at a time on AXI4-Lite.
struct Bus {
    Vtop& top;
    bool reading = false, writing = false;

    bool busy() const { return reading || writing; }

    void read(uint32_t address) {
        top.s_axil_araddr = address;
        reading = top.s_axil_arvalid = top.s_axil_rready = true;
    }

    void write(const Access& access) {
        top.s_axil_awaddr = access.address;
        top.s_axil_wdata = access.word;
        top.s_axil_wstrb = 15;
        writing = top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = true;
    }
};

}  // namespace

extern "C" {

int64_t machine_cycles(void* handle) { return static_cast<Machine*>(handle)->cycles; }

int soak_run(void* handle, Soak* all) {
    auto& machine = *static_cast<Machine*>(handle);
    auto& top = machine.top;
    auto& soak = *all;
    Random random{soak.seed};
    Rows rows{soak};
    Bus bus{top};
    int64_t written = 0, quiet = 0, first = -1, last = 0, after = 0;
    bool acts_paused = false, weights_paused = false, psums_paused = false;
    bool acts_offered = false, weights_offered = false, room = false, polling = false;
    bool open = !soak.preloaded;
    Access expected{};
    while (after < TAIL) {
        open |= written == soak.write_count && !bus.busy();
        acts_paused = pauses(random, soak.acts, acts_paused);
        weights_paused = pauses(random, soak.weights, weights_paused);
        psums_paused = pauses(random, soak.psums, psums_paused);
        acts_offered |= open && !acts_paused && soak.acts.moved < soak.acts.total;
        weights_offered |= open && !weights_paused && soak.weights.moved < soak.weights.total;
        offer(soak.acts, acts_offered, top.s_axis_acts_tdata, top.s_axis_acts_tlast,
              top.s_axis_acts_tvalid);
        offer(soak.weights, weights_offered, top.s_axis_weights_tdata, top.s_axis_weights_tlast,
              top.s_axis_weights_tvalid);
        top.m_axis_psums_tready = !psums_paused;
        if (!bus.busy()) {
            polling = false;
            if (random.chance(soak.chat)) {
                expected = soak.constants[random.next() % soak.constant_count];
                bus.read(expected.address);
            } else if (written < soak.write_count) {
                const auto& write = soak.writes[written];
                polling = write.address == soak.push_address && !room;
                polling ? bus.read(soak.status_address) : bus.write(write);
            }
        }

        machine.low();
        const bool acts = acts_offered && top.s_axis_acts_tready;
        const bool weights = weights_offered && top.s_axis_weights_tready;
        const bool psums = top.m_axis_psums_tvalid && !psums_paused;
        if (first < 0 && (acts || weights)) first = machine.cycles;
        if (first >= 0) {
            soak.acts.held +=
                top.s_axis_acts_tready && !acts_offered && soak.acts.moved < soak.acts.total;
            soak.weights.held += top.s_axis_weights_tready && !weights_offered &&
                                 soak.weights.moved < soak.weights.total;
            soak.psums.held += top.m_axis_psums_tvalid && psums_paused;
        }
        if (psums) {
            if (rows.over()) return SURPLUS;
            if (!top.m_axis_psums_tlast) return PSUM_LAST;
            for (int64_t col = 0; col < soak.cols; ++col) {
                int32_t seen;
                const auto* bytes = reinterpret_cast<const uint8_t*>(&top.m_axis_psums_tdata);
                std::memcpy(&seen, bytes + 4 * col, 4);
                const int64_t wanted = rows.psum(col);
                if (seen == wanted) continue;
                soak.product = rows.product;
                soak.token = rows.m0 + rows.token;
                soak.feature = rows.n0 + col;
                soak.seen = seen;
                soak.wanted = wanted;
                return PSUM;
            }
            rows.next();
            last = machine.cycles;
            ++soak.psums.moved;
        }
        const bool address_taken = top.s_axil_awready, word_taken = top.s_axil_wready;
        const bool asked = top.s_axil_arready;
        const bool wrote = bus.writing && top.s_axil_bvalid;
        const bool read = bus.reading && top.s_axil_rvalid;
        const uint32_t word = top.s_axil_rdata;
        if ((wrote && top.s_axil_bresp) || (read && top.s_axil_rresp)) return REFUSED;
        machine.high();

        if (address_taken) top.s_axil_awvalid = 0;
        if (word_taken) top.s_axil_wvalid = 0;
        if (asked) top.s_axil_arvalid = 0;
        if (wrote) {
            bus.writing = top.s_axil_bready = room = false;
            ++written;
        }
        if (read) {
            bus.reading = top.s_axil_rready = false;
            if (polling) {
                room = !(word & soak.full_mask);
            } else if (word != expected.word) {
                soak.feature = expected.address;
                soak.seen = word;
                soak.wanted = expected.word;
                return REGISTER;
            }
        }
        soak.acts.moved += acts;
        soak.weights.moved += weights;
        acts_offered &= !acts;
        weights_offered &= !weights;
        after += rows.over();
        quiet = acts || weights || psums ? 0 : quiet + 1;
        if (quiet > PATIENCE) {
            soak.product = rows.product;
            return HANGS;
        }
    }
    // An access that is under way ends.
    top.s_axis_acts_tvalid = top.s_axis_weights_tvalid = top.m_axis_psums_tready = 0;
    for (int cycle = 0; bus.busy() && cycle < 100; ++cycle) {
        machine.low();
        const bool asked = top.s_axil_arready, address_taken = top.s_axil_awready;
        const bool word_taken = top.s_axil_wready;
        const bool ended = bus.reading ? top.s_axil_rvalid : top.s_axil_bvalid;
        machine.high();
        if (asked) top.s_axil_arvalid = 0;
        if (address_taken) top.s_axil_awvalid = 0;
        if (word_taken) top.s_axil_wvalid = 0;
        if (ended) bus.reading = bus.writing = top.s_axil_rready = top.s_axil_bready = false;
    }
    soak.span = last - first + 1;
    const bool all_in =
        soak.acts.moved == soak.acts.total && soak.weights.moved == soak.weights.total;
    return all_in ? RIGHT : LEFT;
}
}

/* A driver of the Tritloom core, for bare metal: see tritloom.h.
 *
 * No 64-bit number is divided, as that would need a library on 32-bit machines.
 */
#include "tritloom.h"

#include "tritloom_regs.h"

#define OFFSET(register_) TRITLOOM_##register_##_OFFSET
#define FIELD(word, field) (((word) & TRITLOOM_##field##_MASK) >> TRITLOOM_##field##_SHIFT)
#define PLACE(value, field) ((uint32_t)(value) << TRITLOOM_##field##_SHIFT)

/* Returns from the calling function where `call` fails. */
#define TRY(call)                              \
    do {                                       \
        tritloom_result result_ = (call);      \
        if (result_ != TRITLOOM_OKAY) {        \
            return result_;                    \
        }                                      \
    } while (0)

/* The weight stream goes in groups of so many beats. */
#define GROUP_BEATS 4u
#define PSUM_BYTES 4u
#define MOST_SIDE 1024u
#define MOST_K ((uint32_t)1 << 30)
#define MOST_BEATS ((uint64_t)1 << 40)

/* ---- registers ---- */

static tritloom_result get(const tritloom_core *core, uint32_t offset, uint32_t *word)
{
    return core->read(core->bus, offset, word) ? TRITLOOM_OKAY : TRITLOOM_FAIL_BUS;
}

static tritloom_result put(const tritloom_core *core, uint32_t offset, uint32_t word)
{
    return core->write(core->bus, offset, word) ? TRITLOOM_OKAY : TRITLOOM_FAIL_BUS;
}

static bool read_at(void *bus, uint32_t offset, uint32_t *word)
{
    *word = *(volatile uint32_t *)(void *)((uint8_t *)bus + offset);
    return true;
}

static bool write_at(void *bus, uint32_t offset, uint32_t word)
{
    *(volatile uint32_t *)(void *)((uint8_t *)bus + offset) = word;
    return true;
}

tritloom_result tritloom_open(tritloom_core *core, tritloom_read_word *read,
                              tritloom_write_word *write, void *bus)
{
    uint32_t word;

    core->read = read;
    core->write = write;
    core->bus = bus;
    TRY(get(core, OFFSET(ID), &word));
    if (word != TRITLOOM_ID_VALUE_RESET) {
        return TRITLOOM_FAIL_ID;
    }
    TRY(get(core, OFFSET(VERSION), &word));
    core->version_major = (uint16_t)FIELD(word, VERSION_MAJOR);
    core->version_minor = (uint16_t)FIELD(word, VERSION_MINOR);
    if (core->version_major != TRITLOOM_VERSION_MAJOR_RESET) {
        return TRITLOOM_FAIL_VERSION;
    }
    TRY(get(core, OFFSET(SHAPE), &word));
    core->rows = FIELD(word, SHAPE_ROWS);
    core->cols = FIELD(word, SHAPE_COLS);
    TRY(get(core, OFFSET(WIDTHS), &word));
    core->lanes = FIELD(word, WIDTHS_LANES);
    core->act_bits = FIELD(word, WIDTHS_ACT_BITS);
    core->psum_bits = FIELD(word, WIDTHS_PSUM_BITS);
    TRY(get(core, OFFSET(MAX_K), &word));
    core->max_k = FIELD(word, MAX_K_VALUE);
    TRY(get(core, OFFSET(QUEUE), &word));
    core->queue_depth = FIELD(word, QUEUE_DEPTH);
    TRY(get(core, OFFSET(DATAFLOW), &word));
    core->weight_stationary = FIELD(word, DATAFLOW_WEIGHT_STATIONARY) != 0;
    core->group_tokens = FIELD(word, DATAFLOW_GROUP_TOKENS);
    /* No core is larger; products of 32 bits below rely on it. */
    if (core->rows == 0 || core->cols == 0 || core->lanes == 0 || core->rows > MOST_SIDE
        || core->cols > MOST_SIDE || core->lanes > MOST_SIDE || core->act_bits < 2 || core->act_bits > 16
        || core->psum_bits > 32 || core->max_k == 0 || core->max_k > MOST_K || core->group_tokens == 0
        || (!core->weight_stationary && core->group_tokens != core->rows)) {
        return TRITLOOM_FAIL_SHAPE;
    }
    TRY(get(core, OFFSET(STATUS), &word));
    core->pushed = (uint16_t)FIELD(word, STATUS_RUNS_DONE);
    return FIELD(word, STATUS_BUSY) != 0 || FIELD(word, STATUS_FLUSHING) != 0 ? TRITLOOM_FAIL_BUSY
                                                                              : TRITLOOM_OKAY;
}

tritloom_result tritloom_open_at(tritloom_core *core, volatile void *base)
{
    /* The accesses themselves are volatile. */
    return tritloom_open(core, read_at, write_at, (void *)(uintptr_t)base);
}

tritloom_result tritloom_reset(tritloom_core *core)
{
    TRY(put(core, OFFSET(CONTROL), TRITLOOM_CONTROL_SOFT_RESET_MASK));
    core->pushed = 0;
    return put(core, OFFSET(IRQ_ENABLE), 0);
}

tritloom_result tritloom_flush_state(tritloom_core *core, tritloom_flush *flush)
{
    uint32_t status;

    TRY(get(core, OFFSET(STATUS), &status));
    flush->flushing = FIELD(status, STATUS_FLUSHING) != 0;
    flush->acts_open = FIELD(status, STATUS_ACTS_OPEN) != 0;
    flush->weights_open = FIELD(status, STATUS_WEIGHTS_OPEN) != 0;
    flush->psum_offered = FIELD(status, STATUS_PSUM_OFFERED) != 0;
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_resume(tritloom_core *core, uint32_t polls)
{
    uint32_t status;

    TRY(put(core, OFFSET(CONTROL), TRITLOOM_CONTROL_RESUME_MASK));
    while (polls-- > 0) {
        TRY(get(core, OFFSET(STATUS), &status));
        if (FIELD(status, STATUS_FLUSHING) == 0) {
            TRY(put(core, OFFSET(EVENT), UINT32_MAX));
            return put(core, OFFSET(ERROR), UINT32_MAX);
        }
    }
    return TRITLOOM_FAIL_TIMEOUT;
}

static tritloom_result check(const tritloom_core *core, const tritloom_run *run)
{
    if (run->m == 0 || run->k == 0 || run->n == 0 || run->k > core->max_k
        || (run->packing != TRITLOOM_TRIT2 && run->packing != TRITLOOM_TRIT5)
        || (uint32_t)run->psums_last > TRITLOOM_LAST_OF_BEAT) {
        return TRITLOOM_FAIL_SIZE;
    }
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_push(tritloom_core *core, const tritloom_run *run, uint16_t *number)
{
    uint32_t status;

    TRY(check(core, run));
    TRY(get(core, OFFSET(STATUS), &status));
    /* FULL is set meanwhile as well. */
    if (FIELD(status, STATUS_FLUSHING) != 0) {
        return TRITLOOM_FAIL_FLUSHING;
    }
    if (FIELD(status, STATUS_FULL) != 0) {
        return TRITLOOM_FAIL_QUEUE_FULL;
    }
    TRY(put(core, OFFSET(M), run->m));
    TRY(put(core, OFFSET(K), run->k));
    TRY(put(core, OFFSET(N), run->n));
    TRY(put(core, OFFSET(OPTIONS), PLACE(run->packing, OPTIONS_PACKING)
                                       | PLACE(run->psums_last, OPTIONS_PSUMS_LAST)));
    TRY(put(core, OFFSET(PUSH), TRITLOOM_PUSH_GO_MASK));
    core->pushed = (uint16_t)(core->pushed + 1u);
    if (number != NULL) {
        *number = core->pushed;
    }
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_wait(tritloom_core *core, uint16_t number, uint32_t polls)
{
    uint32_t status;

    while (polls-- > 0) {
        TRY(get(core, OFFSET(STATUS), &status));
        /* RUNS_DONE wraps around: what is not behind is ahead, or there. */
        if ((uint16_t)(FIELD(status, STATUS_RUNS_DONE) - number) < 0x8000u) {
            return TRITLOOM_OKAY;
        }
    }
    return TRITLOOM_FAIL_TIMEOUT;
}

tritloom_result tritloom_irq_enable(tritloom_core *core, bool run_done, bool errors)
{
    return put(core, OFFSET(IRQ_ENABLE),
               PLACE(run_done, IRQ_ENABLE_RUN_DONE) | PLACE(errors, IRQ_ENABLE_ERROR));
}

tritloom_result tritloom_irq_acknowledge(tritloom_core *core, bool *run_done)
{
    uint32_t events;

    TRY(get(core, OFFSET(EVENT), &events));
    *run_done = FIELD(events, EVENT_RUN_DONE) != 0;
    return put(core, OFFSET(EVENT), events);
}

tritloom_result tritloom_errors(tritloom_core *core, tritloom_report *report)
{
    TRY(get(core, OFFSET(ERROR), &report->bits));
    TRY(get(core, OFFSET(FIRST_ILLEGAL), &report->first_illegal));
    return report->bits != 0 ? TRITLOOM_FAIL_REPORTED : TRITLOOM_OKAY;
}

tritloom_result tritloom_errors_clear(tritloom_core *core, uint32_t bits)
{
    return put(core, OFFSET(ERROR), bits);
}

static tritloom_result counter(const tritloom_core *core, uint32_t low, uint32_t high,
                               uint64_t *count)
{
    uint32_t word, upper;

    TRY(get(core, low, &word));
    TRY(get(core, high, &upper));
    *count = (uint64_t)upper << 32 | word;
    return TRITLOOM_OKAY;
}

#define COUNTER(name, place) \
    TRY(counter(core, OFFSET(name##_LO), OFFSET(name##_HI), &counters->place))

tritloom_result tritloom_counters_read(tritloom_core *core, tritloom_counters *counters)
{
    TRY(put(core, OFFSET(CONTROL), TRITLOOM_CONTROL_SNAPSHOT_MASK));
    COUNTER(CYCLES, cycles);
    COUNTER(BUSY, busy);
    COUNTER(STALL_ACTS, stall_acts);
    COUNTER(STALL_WEIGHTS, stall_weights);
    COUNTER(STALL_OUTPUT, stall_output);
    COUNTER(STALL_ARRAY, stall_array);
    COUNTER(TRITS, trits);
    COUNTER(ZERO_TRITS, zero_trits);
    COUNTER(ILLEGAL_BEATS, illegal_beats);
    return TRITLOOM_OKAY;
}

/* ---- sizes ---- */

static uint32_t divided_up(uint32_t number, uint32_t by)
{
    return number / by + (number % by != 0);
}

static uint32_t smaller(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

/* Where the product is less than MOST_BEATS, as `left` must be. */
static tritloom_result product(uint64_t left, uint32_t right, uint64_t *result)
{
    uint64_t upper = (left >> 32) * right;
    uint64_t lower = (left & UINT32_MAX) * right;

    if (upper >= MOST_BEATS >> 32) {
        return TRITLOOM_FAIL_TOO_LARGE;
    }
    *result = (upper << 32) + lower;
    return *result < MOST_BEATS ? TRITLOOM_OKAY : TRITLOOM_FAIL_TOO_LARGE;
}

/* Input features of a step: a slice, or a weight-stationary tile of as many slices as rows. */
static uint32_t step_inputs(const tritloom_core *core)
{
    return core->weight_stationary ? core->rows * core->lanes : core->lanes;
}

/* Slices of a group of output features, with those that fill up a tile. */
static uint32_t slices(const tritloom_core *core, const tritloom_run *run)
{
    uint32_t steps = divided_up(run->k, step_inputs(core));

    return core->weight_stationary ? steps * core->rows : steps;
}

tritloom_result tritloom_acts_size(const tritloom_core *core, const tritloom_run *run,
                                   tritloom_size *size)
{
    uint32_t groups, steps, tokens;

    TRY(check(core, run));
    groups = divided_up(run->m, core->group_tokens);
    steps = divided_up(run->k, step_inputs(core));
    size->beat_bytes = divided_up(core->rows * core->lanes * core->act_bits, 8);
    size->packets = groups;
    size->packet_beats = size->last_packet_beats = steps;
    if (core->weight_stationary) {
        tokens = run->m - (groups - 1) * core->group_tokens;
        TRY(product(steps, core->group_tokens, &size->packet_beats));
        TRY(product(steps, tokens, &size->last_packet_beats));
    }
    TRY(product(size->packet_beats, groups - 1, &size->beats));
    size->beats += size->last_packet_beats;
    if (size->beats >= MOST_BEATS) {
        return TRITLOOM_FAIL_TOO_LARGE;
    }
    size->bytes = size->beats * size->beat_bytes;
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_weights_size(const tritloom_core *core, const tritloom_run *run,
                                      tritloom_size *size)
{
    uint32_t per_byte = run->packing == TRITLOOM_TRIT5 ? 5 : 4;
    uint32_t depth, features, rest;
    uint64_t groups;

    TRY(check(core, run));
    depth = slices(core, run);
    features = divided_up(run->n, core->cols);
    /* ceil(features * depth / per_byte), without a 64-bit division. */
    rest = features % per_byte;
    groups = (uint64_t)(features / per_byte) * depth + (uint64_t)rest * (depth / per_byte)
             + divided_up(rest * (depth % per_byte), per_byte);
    if (groups >= MOST_BEATS) {
        return TRITLOOM_FAIL_TOO_LARGE;
    }
    size->beat_bytes = divided_up(core->cols * core->lanes, GROUP_BEATS);
    size->packets = divided_up(run->m, core->group_tokens);
    TRY(product(groups, GROUP_BEATS, &size->packet_beats));
    size->last_packet_beats = size->packet_beats;
    TRY(product(size->packet_beats, (uint32_t)size->packets, &size->beats));
    size->bytes = size->beats * size->beat_bytes;
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_psums_size(const tritloom_core *core, const tritloom_run *run,
                                    tritloom_size *size)
{
    uint32_t features, groups;

    TRY(check(core, run));
    size->beat_bytes = core->cols * PSUM_BYTES;
    features = divided_up(run->n, core->cols);
    TRY(product(run->m, features, &size->beats));
    size->packets = 1;
    size->packet_beats = size->last_packet_beats = size->beats;
    if (run->psums_last == TRITLOOM_LAST_OF_PASS) {
        groups = divided_up(run->m, core->group_tokens);
        size->packets = groups;
        size->packet_beats = (uint64_t)smaller(run->m, core->group_tokens) * features;
        size->last_packet_beats =
            (uint64_t)(run->m - (groups - 1) * core->group_tokens) * features;
    } else if (run->psums_last == TRITLOOM_LAST_OF_BEAT) {
        size->packets = size->beats;
        size->packet_beats = size->last_packet_beats = 1;
    }
    size->bytes = size->beats * size->beat_bytes;
    return TRITLOOM_OKAY;
}

/* ---- acts ---- */

tritloom_result tritloom_acts_begin(tritloom_acts *acts, const tritloom_core *core,
                                    const tritloom_run *run, const int8_t *matrix, size_t stride)
{
    tritloom_size size;

    TRY(tritloom_acts_size(core, run, &size));
    if (stride < run->k) {
        return TRITLOOM_FAIL_STRIDE;
    }
    acts->core = core;
    acts->matrix = matrix;
    acts->stride = stride;
    acts->m = run->m;
    acts->k = run->k;
    acts->first = 0;
    acts->tokens = smaller(run->m, core->group_tokens);
    acts->steps = divided_up(run->k, step_inputs(core));
    acts->step = acts->token = acts->row = acts->lane = 0;
    acts->held = acts->held_bits = 0;
    return TRITLOOM_OKAY;
}

/* The act of the place that `acts` is at, 0 for padding. */
static int8_t act(const tritloom_acts *acts)
{
    const tritloom_core *core = acts->core;
    uint32_t token = core->weight_stationary ? acts->token : acts->row;
    uint32_t slice = core->weight_stationary ? acts->step * core->rows + acts->row : acts->step;
    uint32_t input = slice * core->lanes + acts->lane;

    if (token >= acts->tokens || input >= acts->k) {
        return 0;
    }
    return acts->matrix[(size_t)(acts->first + token) * acts->stride + input];
}

/* Go to the next beat; true where that was a packet's last one. */
static bool next_acts_beat(tritloom_acts *acts)
{
    const tritloom_core *core = acts->core;

    acts->row = 0;
    if (core->weight_stationary && ++acts->token < acts->tokens) {
        return false;
    }
    acts->token = 0;
    if (++acts->step < acts->steps) {
        return false;
    }
    acts->step = 0;
    acts->first += acts->tokens;
    acts->tokens = smaller(acts->m - acts->first, core->group_tokens);
    return true;
}

tritloom_result tritloom_acts_fill(tritloom_acts *acts, uint8_t *buffer, size_t capacity,
                                   size_t *count, bool *last)
{
    const tritloom_core *core = acts->core;
    const int32_t limit = (int32_t)1 << (core->act_bits - 1);

    *count = 0;
    *last = false;
    while (*count < capacity && !*last && acts->tokens != 0) {
        while (acts->held_bits < 8 && acts->row < core->rows) {
            int32_t value = act(acts);

            if (value < -limit || value >= limit) {
                return TRITLOOM_FAIL_ACT;
            }
            acts->held |= ((uint32_t)value & (((uint32_t)1 << core->act_bits) - 1))
                          << acts->held_bits;
            acts->held_bits += core->act_bits;
            if (++acts->lane == core->lanes) {
                acts->lane = 0;
                ++acts->row;
            }
        }
        buffer[(*count)++] = (uint8_t)(acts->held & 0xffu);
        acts->held >>= 8;
        /* A beat that ends within a byte is filled up with zeros. */
        acts->held_bits = acts->held_bits < 8 ? 0 : acts->held_bits - 8;
        if (acts->row == core->rows && acts->held_bits == 0) {
            *last = next_acts_beat(acts);
        }
    }
    return TRITLOOM_OKAY;
}

/* ---- weights ---- */

static tritloom_result weights_begin(tritloom_weights *weights, const tritloom_core *core,
                                     const tritloom_run *run)
{
    tritloom_size size;

    TRY(tritloom_weights_size(core, run, &size));
    weights->core = core;
    weights->matrix = NULL;
    weights->stride = 0;
    weights->image = NULL;
    weights->packet_bytes = size.packet_beats * size.beat_bytes;
    weights->byte = 0;
    weights->packets = (uint32_t)size.packets;
    weights->k = run->k;
    weights->n = run->n;
    weights->trits_per_byte = run->packing == TRITLOOM_TRIT5 ? 5 : 4;
    weights->depth = slices(core, run);
    weights->first = weights->slice = 0;
    weights->col = weights->lane = 0;
    weights->place = 0;
    weights->places = GROUP_BEATS * size.beat_bytes;
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_weights_begin(tritloom_weights *weights, const tritloom_core *core,
                                       const tritloom_run *run, const int8_t *matrix,
                                       size_t stride)
{
    TRY(weights_begin(weights, core, run));
    if (stride < run->k) {
        return TRITLOOM_FAIL_STRIDE;
    }
    weights->matrix = matrix;
    weights->stride = stride;
    return TRITLOOM_OKAY;
}

tritloom_result tritloom_image_begin(tritloom_weights *weights, const tritloom_core *core,
                                     const tritloom_run *run, const uint8_t *image, size_t bytes)
{
    TRY(weights_begin(weights, core, run));
    if (bytes != weights->packet_bytes) {
        return TRITLOOM_FAIL_IMAGE;
    }
    weights->image = image;
    return TRITLOOM_OKAY;
}

/* The code of two bits of a trit: 00, 01 or 11. */
static uint32_t code(int8_t trit)
{
    return (uint32_t)trit & 3u;
}

static uint8_t trit2(const int8_t *trits)
{
    return (uint8_t)(code(trits[0]) | code(trits[1]) << 2 | code(trits[2]) << 4
                     | code(trits[3]) << 6);
}

/* The field of two bits and the single bit of a pair that is not both zero. */
static uint32_t pair_field(int8_t x, int8_t y)
{
    return y != 0 ? code(x) : 2u;
}

static uint32_t pair_bit(int8_t x, int8_t y)
{
    return (y != 0 ? y : x) < 0;
}

static uint8_t trit5(const int8_t *trits)
{
    uint32_t field12 = pair_field(trits[1], trits[2]), bit12 = pair_bit(trits[1], trits[2]);
    uint32_t field34 = pair_field(trits[3], trits[4]), bit34 = pair_bit(trits[3], trits[4]);
    bool none12 = trits[1] == 0 && trits[2] == 0, none34 = trits[3] == 0 && trits[4] == 0;
    uint32_t first = code(trits[0]);

    if (none12 && none34) {
        return (uint8_t)(first << 6 | 2u << 2 | 2u);
    }
    if (none34) {
        return (uint8_t)(first << 6 | bit12 << 5 | 1u << 4 | field12 << 2 | 2u);
    }
    if (none12) {
        return (uint8_t)(field34 << 6 | bit34 << 5 | first << 2 | 2u);
    }
    return (uint8_t)(field34 << 6 | bit12 << 5 | bit34 << 4 | field12 << 2 | first);
}

/* The slice after (first, slice); `first` ends at n or above. */
static void next_slice(const tritloom_weights *weights, uint32_t *first, uint32_t *slice)
{
    if (++*slice == weights->depth) {
        *slice = 0;
        /* Saturated, as n may be near the largest number there is. */
        *first = weights->n - *first > weights->core->cols ? *first + weights->core->cols
                                                           : weights->n;
    }
}

/* The byte of the place that `weights` is at; all trits beyond the matrix are zero. */
static tritloom_result packed(const tritloom_weights *weights, uint8_t *byte)
{
    int8_t trits[5] = {0, 0, 0, 0, 0};
    uint32_t first = weights->first, slice = weights->slice, i;

    for (i = 0; i < weights->trits_per_byte && first < weights->n; ++i) {
        uint32_t input = slice * weights->core->lanes + weights->lane;

        if (weights->col < weights->core->cols && weights->col < weights->n - first
            && input < weights->k) {
            trits[i] = weights->matrix[(size_t)(first + weights->col) * weights->stride + input];
            if (trits[i] < -1 || trits[i] > 1) {
                return TRITLOOM_FAIL_TRIT;
            }
        }
        next_slice(weights, &first, &slice);
    }
    *byte = weights->trits_per_byte == 5 ? trit5(trits) : trit2(trits);
    return TRITLOOM_OKAY;
}

static void next_place(tritloom_weights *weights)
{
    uint32_t i;

    if (++weights->lane == weights->core->lanes) {
        weights->lane = 0;
        ++weights->col;
    }
    if (++weights->place == weights->places) {
        weights->place = weights->col = weights->lane = 0;
        for (i = 0; i < weights->trits_per_byte && weights->first < weights->n; ++i) {
            next_slice(weights, &weights->first, &weights->slice);
        }
    }
}

tritloom_result tritloom_weights_fill(tritloom_weights *weights, uint8_t *buffer, size_t capacity,
                                      size_t *count, bool *last)
{
    *count = 0;
    *last = false;
    while (*count < capacity && !*last && weights->packets != 0) {
        if (weights->image != NULL) {
            buffer[*count] = weights->image[weights->byte];
        } else {
            TRY(packed(weights, &buffer[*count]));
            next_place(weights);
        }
        ++*count;
        if (++weights->byte == weights->packet_bytes) {
            weights->byte = 0;
            weights->first = weights->slice = 0;
            --weights->packets;
            *last = true;
        }
    }
    return TRITLOOM_OKAY;
}

/* ---- psums ---- */

tritloom_result tritloom_psums_begin(tritloom_psums *psums, const tritloom_core *core,
                                     const tritloom_run *run, int32_t *matrix, size_t stride)
{
    tritloom_size size;

    TRY(tritloom_psums_size(core, run, &size));
    if (stride < run->n) {
        return TRITLOOM_FAIL_STRIDE;
    }
    psums->core = core;
    psums->matrix = matrix;
    psums->stride = stride;
    psums->m = run->m;
    psums->n = run->n;
    psums->first = psums->token = 0;
    psums->tokens = smaller(run->m, core->group_tokens);
    psums->feature = psums->col = 0;
    psums->word = psums->word_bytes = 0;
    return TRITLOOM_OKAY;
}

static void next_psums_beat(tritloom_psums *psums)
{
    psums->col = 0;
    if (++psums->token < psums->tokens) {
        return;
    }
    psums->token = 0;
    if (psums->n - psums->feature > psums->core->cols) {
        psums->feature += psums->core->cols;
        return;
    }
    psums->feature = 0;
    psums->first += psums->tokens;
    psums->tokens = smaller(psums->m - psums->first, psums->core->group_tokens);
}

size_t tritloom_psums_take(tritloom_psums *psums, const uint8_t *buffer, size_t bytes)
{
    size_t taken = 0;

    while (taken < bytes && psums->tokens != 0) {
        psums->word |= (uint32_t)buffer[taken++] << (8 * psums->word_bytes);
        if (++psums->word_bytes < PSUM_BYTES) {
            continue;
        }
        if (psums->col < psums->n - psums->feature) {
            uint32_t word = psums->word;
            /* No conversion that the language leaves to the compiler. */
            int32_t value = word <= INT32_MAX ? (int32_t)word : -(int32_t)(UINT32_MAX - word) - 1;

            psums->matrix[(size_t)(psums->first + psums->token) * psums->stride + psums->feature
                          + psums->col] = value;
        }
        psums->word = psums->word_bytes = 0;
        if (++psums->col == psums->core->cols) {
            next_psums_beat(psums);
        }
    }
    return taken;
}

bool tritloom_psums_done(const tritloom_psums *psums)
{
    return psums->tokens == 0;
}

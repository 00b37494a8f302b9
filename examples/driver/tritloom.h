/* A driver of the Tritloom core, for bare metal.
 *
 * C99 without a library: it allocates nothing, waits for nothing but what a function says, and
 * keeps its state in structures of the caller. Registers are reached through two functions of the
 * caller, or at an address. Streams are the caller's own (DMA, FIFO, board): the driver lays out
 * their bytes into buffers of any size, says where a packet ends, and takes bytes of psums back.
 * README.md beside this file has an example.
 */
#ifndef TRITLOOM_H
#define TRITLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns. After anything but OKAY, results are not to be used. */
typedef enum {
    TRITLOOM_OKAY = 0,
    TRITLOOM_FAIL_BUS,        /* a register access failed */
    TRITLOOM_FAIL_ID,         /* no Tritloom core answers there */
    TRITLOOM_FAIL_VERSION,    /* a register map that this driver does not know */
    TRITLOOM_FAIL_SHAPE,      /* the core states a shape that no core has */
    TRITLOOM_FAIL_BUSY,       /* somebody else's runs, or a reset of theirs: see tritloom_open */
    TRITLOOM_FAIL_SIZE,       /* m, k or n of 0, k above what the core holds, or no such option */
    TRITLOOM_FAIL_TOO_LARGE,  /* a stream of a run would have 2^40 beats or more */
    TRITLOOM_FAIL_STRIDE,     /* a row of a matrix would overlap the next one */
    TRITLOOM_FAIL_IMAGE,      /* packed weights that are not as long as a pass of this run */
    TRITLOOM_FAIL_ACT,        /* an act does not fit the core's acts */
    TRITLOOM_FAIL_TRIT,       /* a weight is not -1, 0 or +1 */
    TRITLOOM_FAIL_QUEUE_FULL, /* as many descriptors wait as may */
    TRITLOOM_FAIL_FLUSHING,   /* after tritloom_reset, before tritloom_resume succeeded */
    TRITLOOM_FAIL_TIMEOUT,    /* what was waited for did not happen in so many polls */
    TRITLOOM_FAIL_REPORTED    /* the core reports errors: see tritloom_errors */
} tritloom_result;

/* Read or write a word at an offset in bytes; true where the bus answered OKAY. */
typedef bool tritloom_read_word(void *bus, uint32_t offset, uint32_t *word);
typedef bool tritloom_write_word(void *bus, uint32_t offset, uint32_t word);

/* A core. All but `pushed` is constant after tritloom_open. */
typedef struct {
    tritloom_read_word *read;
    tritloom_write_word *write;
    void *bus;
    uint32_t rows, cols, lanes; /* PEs down and across; input features of a PE's beat */
    uint32_t act_bits;          /* bits of an act on the stream, 2 to 16 */
    uint32_t psum_bits;
    uint32_t max_k;
    uint32_t queue_depth;  /* descriptors that may wait */
    uint32_t group_tokens; /* most tokens that share one pass of the weights */
    bool weight_stationary;
    uint16_t version_major, version_minor;
    uint16_t pushed; /* STATUS.RUNS_DONE once all runs that were pushed have ended */
} tritloom_core;

typedef enum { TRITLOOM_TRIT2 = 0, TRITLOOM_TRIT5 = 1 } tritloom_packing;

/* Which beats of psums have TLAST: the last of the run, the last of each pass, or all of them. */
typedef enum {
    TRITLOOM_LAST_OF_RUN = 0,
    TRITLOOM_LAST_OF_PASS = 1,
    TRITLOOM_LAST_OF_BEAT = 2
} tritloom_psums_last;

/* One run: Y[m][n] = X[m][k] . W[n][k]^T. */
typedef struct {
    uint32_t m, k, n; /* tokens, input features, output features */
    tritloom_packing packing;
    tritloom_psums_last psums_last;
} tritloom_run;

/* The core behind two functions. FAIL_BUSY still fills in `core`: call tritloom_reset and
 * tritloom_resume. */
tritloom_result tritloom_open(tritloom_core *core, tritloom_read_word *read,
                              tritloom_write_word *write, void *bus);

/* The core at an address of this machine. The memory must be that of a device: not cached. */
tritloom_result tritloom_open_at(tritloom_core *core, volatile void *base);

/* Drop all runs, zero the counters, and disable the interrupt. The core then takes acts and weights
 * and drops them. Stop their DMAs, or let them finish; take the beat of psums that may be offered; on
 * a stream where a packet began and will not end, send one beat with TLAST. Then tritloom_resume. */
tritloom_result tritloom_reset(tritloom_core *core);

/* Where each stream is, so as to know what a reset waits for. */
typedef struct {
    bool flushing;     /* between tritloom_reset and the end of tritloom_resume */
    bool acts_open;    /* a packet of acts has begun */
    bool weights_open; /* likewise of weights */
    bool psum_offered; /* a beat of psums is not taken yet */
} tritloom_flush;

tritloom_result tritloom_flush_state(tritloom_core *core, tritloom_flush *flush);

/* End the reset: poll until the core takes runs again, at most `polls` times, and clear errors and
 * events. No old packet may be left to begin. After FAIL_TIMEOUT, call it again. */
tritloom_result tritloom_resume(tritloom_core *core, uint32_t polls);

/* Queue a run. `number`, where not NULL, is what tritloom_wait takes. */
tritloom_result tritloom_push(tritloom_core *core, const tritloom_run *run, uint16_t *number);

/* Poll until a run has ended, at most `polls` times; psums of it are all taken then. At most 32767
 * runs may be between `number` and the newest. Somebody else must move the streams meanwhile. */
tritloom_result tritloom_wait(tritloom_core *core, uint16_t number, uint32_t polls);

/* Sizes of a stream of one run. A packet ends with TLAST; `psums_last` says which
 * packets psums have. */
typedef struct {
    uint32_t beat_bytes;        /* bytes of tdata */
    uint64_t packets;           /* of acts, of weights, and of psums by pass: one a group of tokens */
    uint64_t packet_beats;      /* beats of each packet but the last */
    uint64_t last_packet_beats; /* beats of the last packet */
    uint64_t beats, bytes;      /* of all packets */
} tritloom_size;

tritloom_result tritloom_acts_size(const tritloom_core *core, const tritloom_run *run,
                                   tritloom_size *size);
tritloom_result tritloom_weights_size(const tritloom_core *core, const tritloom_run *run,
                                      tritloom_size *size);
tritloom_result tritloom_psums_size(const tritloom_core *core, const tritloom_run *run,
                                    tritloom_size *size);

/* Where in the act stream of a run the caller is. */
typedef struct {
    const tritloom_core *core;
    const int8_t *matrix;
    size_t stride;
    uint32_t m, k;
    uint32_t first, tokens;    /* of the group of tokens; none left where tokens is 0 */
    uint32_t steps, step;      /* slices, or tiles of slices, of the group */
    uint32_t token, row, lane; /* of the next act; token in the group, if weight-stationary */
    uint32_t held, held_bits;  /* bits of acts that make no byte yet */
} tritloom_acts;

/* Begin the act stream of a run: act of token t and input feature i at matrix[t * stride + i]. */
tritloom_result tritloom_acts_begin(tritloom_acts *acts, const tritloom_core *core,
                                    const tritloom_run *run, const int8_t *matrix, size_t stride);

/* Put the next bytes into a buffer of any size. `count` says how many, 0 where the run has no
 * more; they never reach beyond the end of a packet, and `last` says whether they end one. */
tritloom_result tritloom_acts_fill(tritloom_acts *acts, uint8_t *buffer, size_t capacity,
                                   size_t *count, bool *last);

/* Where in the weight stream of a run the caller is. */
typedef struct {
    const tritloom_core *core;
    const int8_t *matrix; /* trits, or NULL */
    size_t stride;
    const uint8_t *image; /* or packed weights */
    uint64_t packet_bytes, byte;
    uint32_t packets; /* that are still to end */
    uint32_t k, n, trits_per_byte;
    uint32_t depth;           /* slices of a group of output features */
    uint32_t first, slice;    /* of the next byte: first output feature of its group, slice in it */
    uint32_t col, lane;       /* its position */
    uint32_t place, places;   /* its place among the bytes of four beats */
} tritloom_weights;

/* Begin the weight stream of a run from trits: that of output feature f and input feature i at
 * matrix[f * stride + i], -1, 0 or +1. */
tritloom_result tritloom_weights_begin(tritloom_weights *weights, const tritloom_core *core,
                                       const tritloom_run *run, const int8_t *matrix,
                                       size_t stride);

/* Begin it from packed weights: a .bin file of a model folder that was packed for this core and
 * this packing. These bytes are one packet as they are: DMA may as well send them from there,
 * `packets` times. */
tritloom_result tritloom_image_begin(tritloom_weights *weights, const tritloom_core *core,
                                     const tritloom_run *run, const uint8_t *image, size_t bytes);

/* The same as tritloom_acts_fill. */
tritloom_result tritloom_weights_fill(tritloom_weights *weights, uint8_t *buffer, size_t capacity,
                                      size_t *count, bool *last);

/* Where in the psum stream of a run the caller is. */
typedef struct {
    const tritloom_core *core;
    int32_t *matrix;
    size_t stride;
    uint32_t m, n;
    uint32_t first, tokens, token; /* the group of tokens; all are taken where tokens is 0 */
    uint32_t feature, col;         /* first output feature of the group, and column in it */
    uint32_t word, word_bytes;     /* bytes that make no psum yet */
} tritloom_psums;

/* Begin the psum stream of a run: that of token t and output feature f goes to
 * matrix[t * stride + f]. */
tritloom_result tritloom_psums_begin(tritloom_psums *psums, const tritloom_core *core,
                                     const tritloom_run *run, int32_t *matrix, size_t stride);

/* Take bytes of the stream, cut anywhere; returns how many belong to this run. Where they are fewer
 * than `bytes`, the run is complete and the others belong to the next. */
size_t tritloom_psums_take(tritloom_psums *psums, const uint8_t *buffer, size_t bytes);

/* Whether all psums of the run are in the matrix. */
bool tritloom_psums_done(const tritloom_psums *psums);

/* The interrupt stays high as long as its cause; both false disables it. */
tritloom_result tritloom_irq_enable(tritloom_core *core, bool run_done, bool errors);

/* Clear EVENT.RUN_DONE; `run_done` says whether it was set. Several runs may have ended, so ask
 * tritloom_wait with 1 poll which. Errors are cleared by tritloom_errors_clear. */
tritloom_result tritloom_irq_acknowledge(tritloom_core *core, bool *run_done);

/* What the core reports. `bits` are those of the register ERROR, for the masks TRITLOOM_ERROR_... of
 * tritloom_regs.h. `first_illegal` is a beat of the weight stream, from 0 in its run, and has a
 * meaning where ERROR.ILLEGAL_CODE is set. */
typedef struct {
    uint32_t bits;
    uint32_t first_illegal;
} tritloom_report;

/* FAIL_REPORTED where the core reports an error. */
tritloom_result tritloom_errors(tritloom_core *core, tritloom_report *report);

/* Clear errors that were seen. */
tritloom_result tritloom_errors_clear(tritloom_core *core, uint32_t bits);

/* All counters at one moment: see docs/registers.md. */
typedef struct {
    uint64_t cycles, busy, stall_acts, stall_weights, stall_output, stall_array;
    uint64_t trits, zero_trits, illegal_beats;
} tritloom_counters;

tritloom_result tritloom_counters_read(tritloom_core *core, tritloom_counters *counters);

#ifdef __cplusplus
}
#endif

#endif /* TRITLOOM_H */

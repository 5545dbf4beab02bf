/* The C kernels of fastconv: what Python binds, and what the kernels share.
 *
 * A kernel does the work items first to last - 1 of a stage. Its arguments are a block of words of
 * 64 bits: addresses, sizes, strides in bytes, numbers. They are declared in
 * fastconv/backends/manifest, from which generate.py makes structs. Addresses come from the caller,
 * who keeps what they point at alive; kernels own nothing, allocate nothing, and keep no state.
 * Arrays are aligned to their elements; scratch memory to 64 bytes. `worker` counts from 0 and is
 * below the number of threads: kernels that need memory of their own find it at a base address +
 * worker * stride.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stdint.h>

typedef void (*fastconv_kernel)(const int64_t *args, int64_t first, int64_t last, int64_t worker);

/* Return the address of a kernel by its name, such as "pool_fold_max_float32_avx2", or 0. */
int64_t fastconv_find(const char *name);

/* Return the digest of the declarations that the kernels were built for. */
const char *fastconv_schema(void);

/* Ask the system for this process's matrix tiles, where the processor has them: 1 where kernels may
 * use them from now on, in forked children too, else 0. */
int fastconv_permit_tiles(void);

/* Run stages in order, each one's items shared out over `threads` workers. Arrays of int64 come as
 * addresses:
 *
 * stages     rows of 3: kernel address, bytes from the block's start to its arguments, work items
 * block      the argument blocks, copied for this run
 * places     rows of 3: a word that is an address, its buffer, bytes from that buffer's start
 * addresses  of the buffers, in memory of any alignment; a place's negative buffer counts from the
 *            end
 *
 * threads    so many at most; negative: the program is brief, and no thread is woken for it alone
 *
 * Gives -1 where there is no memory for a long block, and has run nothing then; else 0. */
int fastconv_drive(int64_t stages_at, int64_t stage_count, int64_t block_at, int64_t word_count,
                   int64_t places_at, int64_t place_count, const char *addresses,
                   int64_t address_count, int64_t threads);

/* A row of a table that fastconv_find searches; name 0 is after the last. */
struct fastconv_entry {
    const char *name;
    fastconv_kernel kernel;
};

#endif

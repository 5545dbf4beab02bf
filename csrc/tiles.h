/* Matrix tiles: eight of 16 rows of 64 bytes, numbered where the code is written, and products of
 * bf16 pairs. With HAS_AMX they are the processor's; else they are emulated bit for bit.
 *
 * A row of a left tile is 32 bf16 numbers of one pixel; a row of a right one holds two of each of 16
 * columns; a sum's rows are float32. An instruction adds for each pair of a row and a column the
 * even and the odd products, each a chain of 16 fused multiply-adds from zero, and then the sum of
 * both to what was there. Subnormal numbers are zeros. (Intel's Software Developer's Manual,
 * TDPBF16PS.)
 */
#ifndef TILES_WORDS
#define TILES_WORDS
enum { TILE_ROWS = 16, TILE_ROW_BYTES = 64, TILE_BYTES = 1024, TILE_FLOATS = 256, TILE_DEPTH = 32 };

/* What LDTILECFG reads: palette 1, bytes a row and rows of each tile. */
struct tile_configuration {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Tiles in memory, where there are none in the processor. */
struct tile_file {
    float tiles[8][TILE_FLOATS];
};

/* The bf16 pieces of any number, where rounding to the nearest is not enough: an infinity or NaN is
 * the first and has no second; nothing finite becomes infinite. */
WORDS_INLINE void split_number(float number, uint16_t *high, uint16_t *low)
{
    uint32_t bits, first, second;
    memcpy(&bits, &number, sizeof bits);
    const uint32_t size = bits & 0x7fffffffu;
    *low = 0;
    if (size >= 0x7f800000u) {
        *high = (uint16_t)(bits >> 16 | (size > 0x7f800000u ? 0x40u : 0u));
        return;
    }
    first = size >= 0x7f7f8000u ? bits & 0xffff0000u : (bits + 0x8000u) & 0xffff0000u;
    float rest;
    memcpy(&rest, &first, sizeof rest);
    rest = number - rest;
    memcpy(&second, &rest, sizeof second);
    *high = (uint16_t)(first >> 16);
    *low = (uint16_t)((second + 0x8000u) >> 16);
}
#endif

#define B NAME(bits)
typedef uint32_t B __attribute__((vector_size(VECTOR_BYTES)));

/* a * b + c with one rounding on every machine. */
INLINE V NAME(fused)(V a, V b, V c)
{
#if HAS_AVX2
    return NAME(multiply_add)(a, b, c);
#elif defined(__FP_FAST_FMAF)
    UNROLL for (int i = 0; i < LANES; i++) {
        c[i] = fmaf(a[i], b[i], c[i]);
    }
    return c;
#else
    /* The product is exact in doubles. A sum that was rounded to the middle of two floats is moved
     * to the side that what was lost is on. */
    for (int i = 0; i < LANES; i++) {
        const double product = (double)a[i] * b[i], more = c[i], sum = product + more;
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        if ((bits & 0x1fffffffu) == 0x10000000u && isfinite(sum)) {
            const double own = sum - product;
            const double lost = (product - (sum - own)) + (more - own);
            if (lost != 0) {
                bits += (lost > 0) == (sum > 0) ? 1u : ~(uint64_t)0;
            }
        }
        double exact;
        memcpy(&exact, &bits, sizeof exact);
        c[i] = (float)exact;
    }
    return c;
#endif
}

#undef TILE_LOAD
#undef TILE_STORE
#undef TILE_ZERO
#undef TILE_DOT
#if HAS_AMX
#define TILE_LOAD(tile, from, step)                                                                \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile                                            \
                     :                                                                             \
                     : "r"(from), "r"((int64_t)(step))                                             \
                     : "memory")
#define TILE_STORE(tile, to, step)                                                                 \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)"                                        \
                     :                                                                             \
                     : "r"(to), "r"((int64_t)(step))                                               \
                     : "memory")
#define TILE_ZERO(tile) __asm__ volatile("tilezero %tmm" #tile)
#define TILE_DOT(sum, left, right)                                                                 \
    __asm__ volatile("tdpbf16ps %tmm" #right ", %tmm" #left ", %tmm" #sum)

/* No other function may run with tiles set up but those inlined: tiles are not saved. */
INLINE void NAME(tiles_begin)(struct tile_file *file)
{
    struct tile_configuration all = {.palette = 1};
    (void)file;
    for (int i = 0; i < 8; i++) {
        all.row_bytes[i] = TILE_ROW_BYTES;
        all.rows[i] = TILE_ROWS;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(all));
}
INLINE void NAME(tiles_end)(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}
#else
#define TILE_LOAD(tile, from, step) NAME(tile_load)(file->tiles[tile], from, step)
#define TILE_STORE(tile, to, step) NAME(tile_save)(file->tiles[tile], to, step)
#define TILE_ZERO(tile) memset(file->tiles[tile], 0, TILE_BYTES)
#define TILE_DOT(sum, left, right)                                                                 \
    NAME(tile_dot)(file->tiles[sum], file->tiles[left], file->tiles[right])

INLINE void NAME(tiles_begin)(struct tile_file *file)
{
    memset(file, 0, sizeof *file);
}
INLINE void NAME(tiles_end)(void)
{
}
INLINE void NAME(tile_load)(float *tile, const void *from, int64_t step)
{
    for (int r = 0; r < TILE_ROWS; r++) {
        memcpy(tile + r * 16, (const char *)from + r * step, TILE_ROW_BYTES);
    }
}
INLINE void NAME(tile_save)(const float *tile, void *to, int64_t step)
{
    for (int r = 0; r < TILE_ROWS; r++) {
        memcpy((char *)to + r * step, tile + r * 16, TILE_ROW_BYTES);
    }
}
static __attribute__((noinline)) void NAME(tile_dot)(float *sum, const float *left,
                                                     const float *right)
{
    const B top = (B){0} + 0xffff0000u;
    for (int64_t n = 0; n < 16; n += LANES) {
        V even[16], odd[16];
        for (int k = 0; k < 16; k++) {
            const B words = (B)NAME(load)(right + k * 16 + n);
            even[k] = (V)(words << 16);
            odd[k] = (V)(words & top);
        }
        for (int m = 0; m < TILE_ROWS; m++) {
            V first = {0}, second = {0};
            for (int k = 0; k < 16; k++) {
                uint32_t word;
                memcpy(&word, left + m * 16 + k, sizeof word);
                first = NAME(fused)((V)((B){0} + (word << 16)), even[k], first);
                second = NAME(fused)((V)((B){0} + (word & 0xffff0000u)), odd[k], second);
            }
            const V before = NAME(load)(sum + m * 16 + n);
            NAME(store)(sum + m * 16 + n, before + (first + second));
        }
    }
}
#endif

/* Two vectors of numbers, as words of two bf16 numbers each: rounded to nearest, and what that
 * leaves, rounded too. `odd` sums: NaN where a number is not finite or has no finite first piece. */
INLINE void NAME(split_pair)(V even, V odd, V *high, V *low, V *strange)
{
    const B half = (B){0} + 0x8000u, top = (B){0} + 0xffff0000u;
    const V zero = {0};
    const B first = ((B)even + half) & top, second = ((B)odd + half) & top;
    const V rest = even - (V)first, more = odd - (V)second;
    *strange = NAME(multiply_add)(rest, zero, *strange);
    *strange = NAME(multiply_add)(more, zero, *strange);
    *high = (V)(first >> 16 | second);
    *low = (V)(((B)rest + half) >> 16 | (((B)more + half) & top));
}

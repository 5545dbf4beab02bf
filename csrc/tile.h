/* Register tiles: rows x vectors vectors in an array that the compiler keeps in registers.
 *
 * `rows` and `vectors` are constants where these functions are inlined, so that every loop over
 * them is unrolled and no part of a tile has an address. Vector v of row r is tile[r * vectors + v].
 */
#ifndef TILE_ONCE
#define TILE_ONCE
enum { MOST_ROWS = 16, MOST_VECTORS = 32 };
#endif

INLINE void NAME(tile_fill)(int rows, int vectors, V *tile, V value)
{
    UNROLL for (int i = 0; i < rows * vectors; i++) {
        tile[i] = value;
    }
}

/* The addresses of rows first, first + 1, ...: base + table[row] bytes. Rows at or past `length`
 * repeat the last one, so that a tile at the end computes something harmless there. */
INLINE void NAME(tile_addresses)(int rows, int64_t *addresses, int64_t base, const int64_t *table,
                                 int64_t first, int64_t length)
{
    UNROLL for (int r = 0; r < rows; r++) {
        addresses[r] = base + table[lesser(first + r, length - 1)];
    }
}

/* Add `count` outer products: the GEMM's micro-kernel. Step k adds A[row, k] * B[k, column]: A[row]
 * is contiguous at addresses[row] + offset, B as rows of the tile's width at `panel`. */
INLINE void NAME(tile_multiply_add)(int rows, int vectors, V *tile, const int64_t *addresses,
                                    int64_t offset, const REAL *panel, int64_t count)
{
    const REAL *a[MOST_ROWS];
    UNROLL for (int r = 0; r < rows; r++) {
        a[r] = AT(addresses[r] + offset);
    }
    for (int64_t k = 0; k < count; k++) {
        V b[MOST_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            b[v] = NAME(load)(panel + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(a[r][k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                tile[r * vectors + v] = NAME(multiply_add)(factor, b[v], tile[r * vectors + v]);
            }
        }
        panel += vectors * LANES;
    }
}

/* Add count * LANES outer products; both operands are stored as they are read: A as blocks of rows x LANES
 * elements, B as rows of the tile's width. */
INLINE void NAME(tile_multiply_blocks)(int rows, int vectors, V *tile, const REAL *a,
                                       const REAL *b, int64_t count)
{
    /* Short steps go by four: a loop of LANES of them is mispredicted at its end. */
    const int together = vectors == 1 && LANES > 4 ? 4 : 1;
    for (int64_t block = 0; block < count; block++) {
        for (int64_t k = 0; k < LANES; k += together) {
            UNROLL for (int i = 0; i < together; i++) {
                V step[MOST_VECTORS];
                UNROLL for (int v = 0; v < vectors; v++) {
                    step[v] = NAME(load)(b + v * LANES);
                }
                UNROLL for (int r = 0; r < rows; r++) {
                    const V factor = NAME(splat)(a[r * LANES + k + i]);
                    UNROLL for (int v = 0; v < vectors; v++) {
                        tile[r * vectors + v] =
                            NAME(multiply_add)(factor, step[v], tile[r * vectors + v]);
                    }
                }
                b += vectors * LANES;
            }
        }
        a += rows * LANES;
    }
}

/* Add one row of the tile's width (a bias) to every row. */
INLINE void NAME(tile_add_row)(int rows, int vectors, V *tile, const REAL *row)
{
    UNROLL for (int v = 0; v < vectors; v++) {
        const V value = NAME(load)(row + v * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            tile[r * vectors + v] += value;
        }
    }
}

/* Add what is at the addresses of the rows (a residual). */
INLINE void NAME(tile_add)(int rows, int vectors, V *tile, const int64_t *addresses)
{
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] += NAME(load)(AT(addresses[r]) + v * LANES);
        }
    }
}

INLINE void NAME(tile_store)(int rows, int vectors, const V *tile, const int64_t *addresses)
{
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            NAME(store)(AT(addresses[r]) + v * LANES, tile[r * vectors + v]);
        }
    }
}

/* The same where the rows are `pitch` bytes apart. */
INLINE void NAME(tile_add_apart)(int rows, int vectors, V *tile, int64_t start, int64_t pitch)
{
    int64_t place = anew(start);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] += NAME(load)(AT(place) + v * LANES);
        }
        place += pitch;
    }
}

INLINE void NAME(tile_store_apart)(int rows, int vectors, const V *tile, int64_t start,
                                   int64_t pitch)
{
    int64_t place = anew(start);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            NAME(store)(AT(place) + v * LANES, tile[r * vectors + v]);
        }
        place += pitch;
    }
}

/* x times a sixth of x + 3 within [0, 6], times `scale`, plus `shift`. */
INLINE void NAME(tile_hardswish)(int rows, int vectors, V *tile, double scale, double shift)
{
    const V zero = {0}, three = NAME(splat)(3), six = NAME(splat)(6);
    const V factor = NAME(splat)((REAL)(scale / 6)), term = NAME(splat)((REAL)shift);
    UNROLL for (int i = 0; i < rows * vectors; i++) {
        const V gate = NAME(smaller)(six, NAME(larger)(zero, tile[i] + three));
        tile[i] = NAME(multiply_add)(gate * factor, tile[i], term);
    }
}

/* The activations of an epilogue: what is negative times `slope`, then within [low, high]. Where
 * `low` is infinite and `high` is not: hard swish, times `slope`, plus `high`. NaN passes through. */
INLINE void NAME(tile_activate)(int rows, int vectors, V *tile, double slope, double low,
                                double high)
{
    if (low == INFINITY && high < INFINITY) {
        NAME(tile_hardswish)(rows, vectors, tile, slope, high);
        return;
    }
    if (slope != 1.0) {
        const V factor = NAME(splat)((REAL)slope), zero = {0};
        UNROLL for (int i = 0; i < rows * vectors; i++) {
            tile[i] = NAME(where_less)(tile[i], zero, tile[i] * factor, tile[i]);
        }
    }
    if (low != -INFINITY || high != INFINITY) {
        const V least = NAME(splat)((REAL)low), most = NAME(splat)((REAL)high);
        UNROLL for (int i = 0; i < rows * vectors; i++) {
            /* The second operand is the result where one is NaN. */
            tile[i] = NAME(smaller)(most, NAME(larger)(least, tile[i]));
        }
    }
}

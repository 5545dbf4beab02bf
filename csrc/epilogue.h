/* The end of a GEMM's tile: bias, residual, activation, and what of it is inside the output.
 *
 * Rows are pixels and columns are channels: a channels-last output takes a tile's rows as they are,
 * a channels-first one takes them turned.
 */
#include "tile.h"

/* Where a tile goes. Row r, column c of the output is at out + out_rows[r] + c * out_column
 * bytes, and so does the residual's, if there is one; `buffer` has room for a tile. */
struct NAME(epilogue) {
    int64_t out;
    int64_t residual;
    const int64_t *out_rows;
    int64_t out_column;
    int64_t row_count;
    int64_t column_count;
    double slope, low, high;
    REAL *buffer;
};

/* Finish the first `count` lanes of a vector that goes to `shift`. */
INLINE void NAME(finish_vector)(const struct NAME(epilogue) *e, V value, int64_t shift,
                                int64_t count)
{
    if (e->residual != 0) {
        value += NAME(load_first)(AT(e->residual + shift), count, (V){0});
    }
    NAME(tile_activate)(1, 1, &value, e->slope, e->low, e->high);
    NAME(store_first)(AT(e->out + shift), count, value);
}

/* Rows whose columns are adjacent. */
INLINE void NAME(finish_rows)(const struct NAME(epilogue) *e, int64_t pitch, int64_t row,
                              int64_t rows, int64_t column, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += LANES) {
            const int64_t shift = e->out_rows[row + r] + (column + c) * e->out_column;
            const V value = NAME(load)(e->buffer + r * pitch + c);
            NAME(finish_vector)(e, value, shift, columns - c);
        }
    }
}

/* Columns whose rows are adjacent: turned in squares. */
INLINE void NAME(finish_columns)(const struct NAME(epilogue) *e, int64_t pitch, int64_t row,
                                 int64_t rows, int64_t column, int64_t columns)
{
    for (int64_t r = 0; r < rows; r += LANES) {
        for (int64_t c = 0; c < columns; c += LANES) {
            const int64_t start = e->out_rows[row + r] + (column + c) * e->out_column;
            V square[LANE_COUNT];
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                square[i] = NAME(load)(e->buffer + lesser(r + i, rows - 1) * pitch + c);
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                if (i < columns - c) {
                    NAME(finish_vector)(e, square[i], start + i * e->out_column, rows - r);
                }
            }
        }
    }
}

/* One by one, wherever they are: what comes before the stores is done in the buffer. */
INLINE void NAME(finish_each)(const struct NAME(epilogue) *e, int64_t pitch, int64_t row,
                              int64_t rows, int64_t column, int64_t columns)
{
    const int64_t *places = e->out_rows + row;
    const int64_t start = column * e->out_column, step = e->out_column;
    REAL *buffer = e->buffer;
    for (int64_t c = 0; e->residual != 0 && c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            buffer[r * pitch + c] += *AT(e->residual + start + c * step + places[r]);
        }
    }
    for (int64_t i = 0; i < rows * pitch; i += LANES) {
        V value = NAME(load)(buffer + i);
        NAME(tile_activate)(1, 1, &value, e->slope, e->low, e->high);
        NAME(store)(buffer + i, value);
    }
    const int64_t out = e->out + start;
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t r = 0; r < rows; r++) {
            *AT(out + c * step + places[r]) = buffer[r * pitch + c];
        }
    }
}

/* Finish what of the buffer's tile is inside the output; `pitch` elements from row to row. */
static __attribute__((noinline, unused)) void NAME(finish_buffer)(const struct NAME(epilogue) *e,
                                                                  int64_t tile_rows, int64_t pitch,
                                                                  int64_t row, int64_t column)
{
    const int64_t rows = lesser(tile_rows, e->row_count - row);
    const int64_t columns = lesser(pitch, e->column_count - column);
    const int64_t spread = e->out_rows[row + rows - 1] - e->out_rows[row];
    if (e->out_column == (int64_t)sizeof(REAL)) {
        NAME(finish_rows)(e, pitch, row, rows, column, columns);
    } else if (rows > 1 && spread == (rows - 1) * (int64_t)sizeof(REAL)) {
        NAME(finish_columns)(e, pitch, row, rows, column, columns);
    } else {
        NAME(finish_each)(e, pitch, row, rows, column, columns);
    }
}

/* Finish the tile at a row and a column of the output; `bias` is a row of the tile's width. */
INLINE void NAME(tile_finish)(int rows, int vectors, V *tile, const REAL *bias,
                              const struct NAME(epilogue) *e, int64_t row, int64_t column)
{
    const int64_t width = vectors * LANES;
    NAME(tile_add_row)(rows, vectors, tile, bias);
    if (e->out_column == (int64_t)sizeof(REAL) && e->row_count - row >= rows &&
        e->column_count - column >= width) {
        const int64_t shift = column * (int64_t)sizeof(REAL);
        int64_t places[MOST_ROWS];
        if (e->residual != 0) {
            NAME(tile_addresses)(rows, places, e->residual + shift, e->out_rows, row, e->row_count);
            NAME(tile_add)(rows, vectors, tile, places);
        }
        NAME(tile_activate)(rows, vectors, tile, e->slope, e->low, e->high);
        NAME(tile_addresses)(rows, places, e->out + shift, e->out_rows, row, e->row_count);
        NAME(tile_store)(rows, vectors, tile, places);
        return;
    }
    UNROLL for (int i = 0; i < rows * vectors; i++) {
        NAME(store)(e->buffer + i * LANES, tile[i]);
    }
    NAME(finish_buffer)(e, rows, width, row, column);
}

/* One panel of columns: (column, channel, tap) turned into (tap, channel, column of the panel). */
#ifndef PANELS_H
#define PANELS_H
/* How a panel's columns are stored, bytes apart from `source` on: so many of them there are, so many the
 * panel has. */
struct columns {
    const char *source;
    int64_t step, there, width, taps, channels;
};
#endif

/* Load LANES elements of up to LANES columns from p on, turned: a vector is one element of all.
 * Columns past `columns` are zeros, and so are elements past `elements`. */
INLINE void NAME(load_columns)(V *square, const char *p, int64_t step, int64_t columns,
                               int64_t elements)
{
    if (columns >= LANES && elements >= LANES) {
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = NAME(load)((const REAL *)(p + i * step));
        }
    } else {
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = (V){0};
            if (i < columns) {
                square[i] = NAME(load_some)((const REAL *)(p + i * step), elements, (V){0});
            }
        }
    }
    NAME(transpose)(square);
}

/* Elements `from` to `to` - 1 of one column, each at its place in a panel of that column alone. */
INLINE void NAME(copy_column)(const struct columns *c, REAL *panel, int64_t from, int64_t to)
{
    const REAL *source = (const REAL *)c->source;
    int64_t tap = from % c->taps, channel = from / c->taps;
    for (int64_t e = from; e < to; e++) {
        panel[tap * c->channels + channel] = source[e];
        if (++tap == c->taps) {
            tap = 0;
            channel++;
        }
    }
}

/* Pack elements `from` to `to` - 1 of all columns; those past the last are zeros. */
INLINE void NAME(pack_columns)(const struct columns *c, REAL *panel, int64_t from, int64_t to)
{
    if (c->width == 1) {
        NAME(copy_column)(c, panel, from, to);
        return;
    }
    int64_t tap = from % c->taps, channel = from / c->taps;
    for (int64_t e = from; e < to; e += LANES) {
        const int64_t some = lesser(LANES, to - e);
        const int64_t tap_at = tap, channel_at = channel;
        for (int64_t j = 0; j < c->width; j += LANES) {
            V square[LANE_COUNT];
            NAME(load_columns)(square, c->source + j * c->step + e * (int64_t)sizeof(REAL), c->step,
                               greater(0, c->there - j), some);
            tap = tap_at, channel = channel_at;
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                if (i < some) {
                    NAME(store_some)(panel + (tap * c->channels + channel) * c->width + j,
                                     c->width - j, square[i]);
                    if (++tap == c->taps) {
                        tap = 0;
                        channel++;
                    }
                }
            }
        }
    }
}

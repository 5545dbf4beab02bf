/* Recurrent layers: the steps of LSTM, GRU and plain networks. */
#define FAMILY recurrent
#define KERNELS "recurrent.h"
#define SHAPE_ENTRIES(rows, dtype)                                                                 \
    ENTRY(recurrent_lstm_##rows##x4, dtype), ENTRY(recurrent_gru_##rows##x3, dtype),               \
        ENTRY(recurrent_reset_##rows##x4, dtype), ENTRY(recurrent_rnn_##rows##x4, dtype)
#define MORE_float32(rows) , SHAPE_ENTRIES(rows, float32)
#define MORE_float64(rows) , SHAPE_ENTRIES(rows, float64)
#define ENTRIES(dtype) SHAPE_ENTRIES(1, dtype) RECURRENT_ROWS(MORE_##dtype)
#include "each.h"

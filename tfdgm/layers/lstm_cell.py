from keras import ops


def lstm_cell(y, c):
    """(h, c) of an LSTM without peepholes: van den Oord et al. 2016, arXiv:1601.06759, eq. 3.

        y = [o, f, i, g],  c' = sigmoid(f) * c + sigmoid(i) * tanh(g),  h = sigmoid(o) * tanh(c')

    Shapes: y [..., 4 k], c [..., k] -> h, c' [..., k].
    """
    k = c.shape[-1]
    o, f, i = ops.split(ops.sigmoid(y[..., : 3 * k]), 3, axis=-1)
    c = f * c + i * ops.tanh(y[..., 3 * k :])
    return o * ops.tanh(c), c

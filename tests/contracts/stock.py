from tensorflow_probability import bijectors as tfb

from tfdgm.layers import bounded_log_scale


def stock_autoregressive_flow(network):
    """Stock TFP's flow of a MADE of ours, with our bound of log-scales."""

    def shift_and_log_scale(x):
        params = network(x)
        return params[..., 0], bounded_log_scale(params[..., 1])

    return tfb.MaskedAutoregressiveFlow(shift_and_log_scale)

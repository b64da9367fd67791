from keras import ops

from tfdgm.layers import bounded_log_scale, discretized_logistic_log_prob


class ColourCoupling:
    """A mixture over the colours of a pixel together, as one mixture a colour given those before it: PixelCNN++, Salimans et al.
    2017, arXiv:1701.05517, section 2.2, eq. 3.

        p(x_1 .. x_C) = sum_k w_k prod_c p_k(x_c | x_<c),  p_k(x_c | x_<c) = logistic(m_k,c + sum_(d < c) q_k,d,c y_d, s_k,c)

    where logistics are rounded to the levels and y in -1..1 is the level; q = tanh of a parameter, the paper's alpha, beta,
    gamma. The conditionals of this joint are mixtures again: each colour seen moves the means after it, and weighs the components
    by how well they foretold it (Bayes' rule),

        p(x_c | x_<c) = sum_k w_k,c p_k(x_c | x_<c),  log w_k,c = log w_k + sum_(d < c) log p_k(x_d | x_<d) + const

    so that the product over colours of `families.DiscretizedLogisticMixture` with [log w_c, m_c, r_c] is exactly the joint.

    The state of a pixel is (logits [..., K], means [..., C, K], raw log-scales [..., C, K], q [..., C, C, K], 0 where d >= c).

    Args:
      levels: L.
      num_components: K.
      num_channels: C.
    """

    def __init__(self, levels: int, num_components: int, num_channels: int):
        self.levels, self.num_components, self.num_channels = levels, num_components, num_channels
        #: Parameters of a pixel: 10 K for three colours.
        self.size = num_components * (1 + 2 * num_channels + num_channels * (num_channels - 1) // 2)

    def __call__(self, features, x):
        """features [..., size], x [..., C] in 0..1 -> the family's parameters [..., C, 3 K] of each colour given those before."""
        pixel, params = self.start(features), []
        for c in range(self.num_channels):
            params.append(self.of_channel(c, pixel))
            pixel = self.see(c, x[..., c], pixel)
        return ops.stack(params, axis=-2)

    def features_of(self, params):
        """Features [size] of independent colours: the means and log-scales of params [C, 3 K], and the mean of their logits."""
        k, colours = self.num_components, self.num_channels
        q = ops.zeros((self.size - k * (1 + 2 * colours),), params.dtype)
        logits, means, scales = ops.mean(params[:, :k], axis=0), params[:, k : 2 * k], params[:, 2 * k :]
        return ops.concatenate([logits, ops.reshape(means, (-1,)), ops.reshape(scales, (-1,)), q])

    def start(self, features):
        """The state before the first colour."""
        k, channels = self.num_components, self.num_channels
        features = [features[..., start : start + k] for start in range(0, self.size, k)]
        logits, means, scales = features[0], features[1 : 1 + channels], features[1 + channels : 1 + 2 * channels]
        pairs, zero = [(d, c) for d in range(channels) for c in range(d + 1, channels)], ops.zeros_like(logits)
        q = {pair: ops.tanh(u) for pair, u in zip(pairs, features[1 + 2 * channels :], strict=True)}
        q = [ops.stack([q.get((d, c), zero) for c in range(channels)], axis=-2) for d in range(channels)]
        return logits, ops.stack(means, axis=-2), ops.stack(scales, axis=-2), ops.stack(q, axis=-3)

    def of_channel(self, c, pixel):
        """The family's parameters [..., 3 K] of colour c, an integer or a scalar tensor, once those before it are seen."""
        logits, means, scales, _ = pixel
        return ops.concatenate([logits, means[..., c, :], scales[..., c, :]], axis=-1)

    def see(self, c, x, pixel):
        """The state once x [...] in 0..1 is seen at colour c."""
        logits, means, scales, q = pixel
        x, log_scale = x[..., None], bounded_log_scale(scales[..., c, :])
        logits = logits + discretized_logistic_log_prob(x * (self.levels - 1), means[..., c, :], log_scale, self.levels)
        return logits, means + q[..., c, :, :] * (2 * x - 1)[..., None], scales, q

class Family:
    """A family of distributions over one scalar x, given `params_size` unconstrained parameters.

    Attributes:
      params_size: parameters of one position.
      uniforms_size: uniform numbers that one draw uses up.
      levels: None for a density over the reals; L for a mass function over the integers 0..L-1.
    """

    params_size: int
    uniforms_size = 1
    levels = None

    def log_prob(self, params, x):
        """params [..., params_size], x [...] -> [...], nats."""
        raise NotImplementedError

    def sample(self, params, uniforms):
        """params [..., params_size], uniforms [..., uniforms_size] in (0, 1) -> x [...], in the dtype of params."""
        raise NotImplementedError

    def marginal_params(self, x):
        """params [*event, params_size] of each position's marginal distribution over rows x [n, *event], or None.

        Where a network's output biases start.
        """
        return None

    def distribution(self, params):
        """The same as a `tfd.Distribution` of batch shape [...]; needs TensorFlow Probability."""
        raise NotImplementedError

from tfdgm.bijectors.bijector import Bijector, forward_and_log_det, inverse_and_log_det, taken_by


class Invert(Bijector):
    """x = f^-1(z): the two directions of a bijector exchanged; IAF is the inverted MAF (Kingma et al. 2016, arXiv:1606.04934).

    Args:
      bijector: f, ours or a stock TFP one. A `condition` is f's.
    """

    def __init__(self, bijector, *, name=None):
        super().__init__(
            event_ndims=bijector.inverse_min_event_ndims,
            dtype=bijector.dtype,
            condition_shape=getattr(bijector, "condition_shape", None),
            name=name or f"invert_{bijector.name}",
        )
        self.bijector = bijector

    def forward_and_log_det(self, z, condition=None):
        self._check_takes(condition)
        return inverse_and_log_det(self.bijector, z, condition, self.forward_min_event_ndims)

    def inverse_and_log_det(self, x, condition=None):
        self._check_takes(condition)
        return forward_and_log_det(self.bijector, x, condition, self.forward_min_event_ndims)

    def adapt(self, x, condition=None):
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt_inverted(x, taken_by(self.bijector, condition))

    def adapt_inverted(self, z, condition=None):
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt(z, taken_by(self.bijector, condition))

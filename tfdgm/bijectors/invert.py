from tfdgm.bijectors.bijector import Bijector, data_shape_of, forward_and_log_det, inverse_and_log_det, latent_shape_of, taken_by


class Invert(Bijector):
    """x = f^-1(z): the two directions of a bijector exchanged; IAF is the inverted MAF (Kingma et al. 2016, arXiv:1606.04934).

    Args:
      bijector: f, ours or a stock TFP one. A `condition` is f's.
    """

    def __init__(self, bijector, *, name=None):
        super().__init__(
            event_ndims=bijector.forward_min_event_ndims,
            latent_ndims=bijector.inverse_min_event_ndims,
            dtype=bijector.dtype,
            condition_shape=getattr(bijector, "condition_shape", None),
            name=name or f"invert_{bijector.name}",
        )
        self.bijector = bijector

    def latent_shape(self, event_shape):
        return data_shape_of(self.bijector, event_shape)

    def data_shape(self, latent_shape):
        return latent_shape_of(self.bijector, latent_shape)

    def forward_and_log_det(self, z, condition=None):
        self._check_takes(condition)
        return inverse_and_log_det(self.bijector, z, condition, self.forward_min_event_ndims)

    def inverse_and_log_det(self, x, condition=None):
        self._check_takes(condition)
        return forward_and_log_det(self.bijector, x, condition, self.inverse_min_event_ndims)

    def adapt(self, x, condition=None):
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt_inverted(x, taken_by(self.bijector, condition))

    def adapt_inverted(self, z, condition=None):
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt(z, taken_by(self.bijector, condition))

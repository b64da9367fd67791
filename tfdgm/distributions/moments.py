_ROWS = 1000
_ESTIMATES = {
    "mean": "tf.reduce_mean(x, 0)`, with the standard error `tf.math.reduce_std(x, 0) / {rows} ** 0.5",
    "variance": "tf.math.reduce_variance(x, 0)",
    "stddev": "tf.math.reduce_std(x, 0)",
    "covariance": "tfp.stats.covariance(tf.reshape(x, ({rows}, -1)))",
    "entropy": "-tf.reduce_mean(log_prob)`, with the standard error `tf.math.reduce_std(log_prob) / {rows} ** 0.5",
}


class Moments:
    """`mean`, `variance`, `stddev`, `covariance`, `entropy` of a `tfd.Distribution` that has no formula for them: an error that
    says how to estimate them from samples. No estimate is returned under a name that promises more."""

    def _moment(self, name, **kwargs):
        given = "" if self.condition_shape is None else ", condition=c"
        x = f"d.sample({_ROWS}, seed=1{given})"
        x = f"tf.cast({x}, tf.float32)" if self.event.is_discrete else x
        code = f"x = {x}; log_prob = d.log_prob(x{given}); " if name == "entropy" else f"x = {x}; "
        bound = " (on average no less than the entropy)" if name == "entropy" and self.is_bound else ""
        raise NotImplementedError(
            f"{type(self).__name__} has no formula for `{name}`. Estimate it from samples of the distribution d{bound}: "
            f"`{code}{_ESTIMATES[name].format(rows=_ROWS)}`."
        )

    def _mean(self, **kwargs):
        return self._moment("mean", **kwargs)

    def _variance(self, **kwargs):
        return self._moment("variance", **kwargs)

    def _stddev(self, **kwargs):
        return self._moment("stddev", **kwargs)

    def _covariance(self, **kwargs):
        return self._moment("covariance", **kwargs)

    def _entropy(self, **kwargs):
        return self._moment("entropy", **kwargs)

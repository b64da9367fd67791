import numpy as np
import pytest
import tensorflow as tf
from contracts.model import ModelContract


class IntegerModelContract(ModelContract):
    """Tests of one model over integers in one configuration."""

    def test_outside_the_levels_on_every_road(self, exported):
        """-infinity or an error, never a plausible number."""
        model, folder = exported
        # Rows that hold one value each that is no level; the last is an event.
        rows = np.repeat(self.x[:1], 6, axis=0).astype(np.int64)
        flat = rows.reshape(6, -1)
        for row, value in enumerate((-1, model.levels, model.levels + 5, -(2**31), 2**31 - 1)):
            flat[row, row % flat.shape[1]] = value
        condition = None if self.condition is None else np.repeat(self.condition[:1], len(rows), axis=0)
        given = {} if condition is None else {"condition": tf.constant(condition)}
        expected = np.full(len(rows), -np.inf)
        expected[-1] = model.log_prob(rows[-1:], None if condition is None else condition[:1]).numpy()[0]
        assert np.isfinite(expected[-1])
        for dtype in (tf.int32, tf.int64, tf.float64):
            x = tf.constant(rows.astype(dtype.as_numpy_dtype))
            np.testing.assert_allclose(model.distribution.log_prob(x, **given), expected, rtol=1e-5)
        x = tf.constant(rows.astype(np.int32))
        np.testing.assert_allclose(model(x, **given), expected, rtol=1e-5)
        signatures = tf.saved_model.load(str(folder / "1")).signatures
        for name in ("log_prob", "serving_default"):
            np.testing.assert_allclose(signatures[name](x=x, **given)["log_prob"], expected, rtol=1e-5)
        model.compile("adam")
        for method in (model.log_prob, model.bits_per_dim, model.predict, model.evaluate, model.lower_bound):
            with pytest.raises(ValueError, match=rf"`x` must hold integers 0..{model.levels - 1}. Received:"):
                method(rows, condition)

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import CausalAttention, exporting, update_slice

LENGTH = 11
CONFIGS = {
    "itself too": {},
    "strict": {"strict": True},
    "two heads, strict": {"num_heads": 2, "strict": True},
    "local": {"block_length": 3, "memory_length": 4},
    "local, strict, two heads": {"block_length": 2, "memory_length": 2, "num_heads": 2, "strict": True},
    "local, without memory": {"block_length": 4},
    "local, a window": {"block_length": 1, "memory_length": 3},
    "local, as large as the sequence": {"block_length": 4, "memory_length": 7},
    "local, larger": {"block_length": 20, "memory_length": 5},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name, **changes):
    return CausalAttention(**{"length": LENGTH, "key_size": 3, "value_size": 2, "dtype": "float64", **CONFIGS[name], **changes})


def inputs(layer, n=2):
    random = np.random.default_rng(0)
    sizes = [layer.num_heads * size for size in (layer.key_size, layer.key_size, layer.value_size)]
    return [tf.constant(random.normal(size=(n, layer.length, size))) for size in sizes]


def by_loops(layer, query, key, value):
    """The formula, one position and head at a time."""
    query, key, value = (np.asarray(u) for u in (query, key, value))
    y = np.zeros(value.shape)
    for i, t, head in np.ndindex(len(query), layer.length, layer.num_heads):
        first = 0
        if layer.block_length is not None:
            first = max(0, t - t % layer.block_length - layer.memory_length)
        seen = np.arange(first, t if layer.strict else t + 1)
        if len(seen):
            k = slice(head * layer.key_size, (head + 1) * layer.key_size)
            v = slice(head * layer.value_size, (head + 1) * layer.value_size)
            weights = np.exp(key[i, seen, k] @ query[i, t, k] / np.sqrt(layer.key_size))
            y[i, t, v] = weights @ value[i, seen, v] / weights.sum()
    return y


def by_steps(layer, query, key, value, *, write_first=True, one_head=False):
    """The cache is written before the read, or after it, as it may be under a strict mask."""
    cache, y = layer.initial_state(len(query)), []
    for t in range(layer.length):
        new = tf.constant(t), key[:, t], value[:, t]
        cache = layer.write(*new, cache) if write_first else cache
        if one_head:
            parts = np.split(query[:, t], layer.num_heads, axis=-1)
            seen = layer.seen(tf.constant(t))
            y.append(tf.concat([layer.read(seen, q, cache, tf.constant(i)) for i, q in enumerate(parts)], axis=-1))
        else:
            y.append(layer.read(layer.seen(tf.constant(t)), query[:, t], cache))
        cache = cache if write_first else layer.write(*new, cache)
    return tf.stack(y, axis=1)


class TestCall:
    @every_config
    def test_against_loops(self, name):
        layer = make(name)
        given = inputs(layer)
        np.testing.assert_allclose(layer(*given), by_loops(layer, *given), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("strict", [False, True])
    def test_queries_in_several_blocks(self, strict, monkeypatch):
        monkeypatch.setattr("tfdgm.layers.causal_attention._QUERIES", 4)
        layer = make("itself too", strict=strict)
        given = inputs(layer)
        np.testing.assert_allclose(layer(*given), by_loops(layer, *given), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(by_steps(layer, *given), layer(*given), rtol=1e-12, atol=1e-12)

    def test_the_first_position_sees_nothing_under_a_strict_mask(self):
        layer = make("strict")
        query, key, value = inputs(layer)
        y = layer(1e3 * query, 1e3 * key, value)
        assert (y[:, 0].numpy() == 0).all()
        np.testing.assert_allclose(y[:, 1], value[:, 0], rtol=1e-12)

    def test_a_position_alone_is_its_value(self):
        layer = make("itself too")
        query, key, value = inputs(layer)
        np.testing.assert_allclose(layer(query, key, value)[:, 0], value[:, 0], rtol=1e-12)

    @pytest.mark.parametrize("name", ["strict", "local"])
    def test_gradients_are_finite_at_large_scores(self, name):
        layer = make(name, dtype="float32")
        given = [1e4 * tf.cast(u, "float32") for u in inputs(layer)]
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = layer(*given)
            loss = tf.reduce_sum(y * y)
        assert np.isfinite(y).all()
        assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, given))

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_precision_is_close(self, dtype):
        layer = make("strict")
        given = inputs(layer)
        y = make("strict", dtype=dtype)(*(tf.cast(u, dtype) for u in given))
        np.testing.assert_allclose(tf.cast(y, "float64"), layer(*given), atol=0.05)


class TestStep:
    @every_config
    def test_equals_call(self, name):
        layer = make(name)
        given = inputs(layer)
        np.testing.assert_allclose(by_steps(layer, *given), layer(*given), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mode", ["graph", "xla", "exporting"])
    @pytest.mark.parametrize("name", ["strict", "local"])
    def test_equals_call_in_a_compiled_loop(self, name, mode, monkeypatch):
        monkeypatch.setattr("tfdgm.layers.causal_attention._QUERIES", 4)
        layer = make(name)
        query, key, value = inputs(layer)

        def run():
            def body(t, cache, y):
                cache = layer.write(t, key[:, t], value[:, t], cache)
                return t + 1, cache, update_slice(y, [0, t, 0], layer.read(layer.seen(t), query[:, t], cache)[:, None])

            start = tf.constant(0), layer.initial_state(2), tf.zeros_like(value)
            return tf.while_loop(lambda t, *_: t < LENGTH, body, start, maximum_iterations=LENGTH)[-1]

        with exporting() if mode == "exporting" else contextlib.nullcontext():
            y = tf.function(run, jit_compile=mode == "xla", autograph=False)()
        np.testing.assert_allclose(y, layer(query, key, value), rtol=1e-12, atol=1e-12)

    def test_a_strict_read_needs_earlier_positions_alone(self):
        for name in ("strict", "local, strict, two heads"):
            layer = make(name)
            given = inputs(layer)
            np.testing.assert_allclose(by_steps(layer, *given, write_first=False), layer(*given), rtol=1e-12, atol=1e-12)

    def test_head_by_head(self):
        layer = make("two heads, strict")
        given = inputs(layer)
        np.testing.assert_allclose(by_steps(layer, *given, one_head=True), layer(*given), rtol=1e-12, atol=1e-12)

    def test_the_cache_of_local_attention_does_not_grow(self):
        assert [u.shape for u in make("local", length=1000).initial_state(5)] == [(5, 7, 3), (5, 7, 2)]
        assert [u.shape for u in make("itself too", length=9).initial_state(5)] == [(5, 9, 3), (5, 9, 2)]


class TestConfig:
    @every_config
    def test_from_config(self, name):
        layer = make(name)
        given = inputs(layer)
        np.testing.assert_array_equal(CausalAttention.from_config(layer.get_config())(*given), layer(*given))

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"length": 0}, r"`length` must be an integer, 1 or more. Received: length=0"),
            ({"block_length": 0}, r"`block_length` must be an integer, 1 or more. Received: block_length=0"),
            ({"memory_length": 3}, r"comes with a `block_length`. Received: memory_length=3, block_length=None"),
            ({"block_length": 3, "memory_length": -1}, r"`memory_length` must be 0 or more.*Received: memory_length=-1"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            make("itself too", **config)

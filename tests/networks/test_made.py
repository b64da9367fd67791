import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract, generated

from tfdgm.layers import exporting
from tfdgm.networks import MADE
from tfdgm.tasks import network_checks


class TestMADE(NetworkContract):
    cls = MADE
    # tanh, so that no unit is dead; several units a degree, so that every allowed connection exists.
    base = {"event_shape": (6,), "hidden_units": (24, 31), "activation": "tanh"}
    configs = {
        "plain": {},
        "one hidden layer": {"hidden_units": (24,)},
        "three hidden layers": {"hidden_units": (24, 31, 20)},
        "right to left": {"input_order": "right-to-left"},
        "random order and degrees": {"input_order": "random", "hidden_degrees": "random", "hidden_units": (48, 48)},
        "given order": {"input_order": (3, 0, 5, 1, 4, 2)},
        "residual": {"residual": True, "hidden_units": (24, 24, 24)},
        "residual, random": {"residual": True, "hidden_units": (64, 64), "hidden_degrees": "random", "input_order": "random"},
        "condition": {"condition_shape": (3,)},
        "condition of two axes, residual": {"condition_shape": (2, 2), "residual": True, "hidden_units": (24, 24)},
        "image": {"event_shape": (3, 4), "params_size": 3, "hidden_units": (40, 40)},
        "image, right to left": {"event_shape": (2, 3), "input_order": "right-to-left"},
        "blocks of four": {"event_shape": (18,), "hidden_units": (40, 57)},
        "blocks of four, random order": {"event_shape": (4, 5), "input_order": "random", "hidden_units": (40,)},
        "blocks of four, condition": {"event_shape": (17,), "condition_shape": (3,), "residual": True, "hidden_units": (40, 40)},
        "direct": {"direct": True, "hidden_units": (8,)},
        "direct, blocks, residual, condition, image, random order": {
            "direct": True,
            "event_shape": (3, 3),
            "params_size": 3,
            "residual": True,
            "hidden_units": (30, 30),
            "condition_shape": (3,),
            "input_order": "random",
        },
        "D = 1": {"event_shape": (1,)},
        "D = 1, direct": {"event_shape": (1,), "direct": True},
        "D = 1, condition": {"event_shape": (1,), "condition_shape": (3,)},
        "D = 2": {"event_shape": (2,)},
        "D = 2, one parameter": {"event_shape": (2,), "params_size": 1},
        "no axes": {"event_shape": ()},
    }
    generated_configs = ("given order",)
    naive_tolerance, float32_tolerance, float32_config = 1e-11, 1e-4, "blocks of four"

    def test_one_unit_a_layer_has_no_leak(self):
        network = self.make(hidden_units=(1, 1))
        moved = network_checks.connections(network, rows=4)
        assert not np.tril(moved).any()

    def test_the_check_does_see_a_leak(self):
        network = self.make()
        network.out.mask[:, 0] = True  # Position 0 now depends on everything.
        check = network_checks.mask_leaks("leak", network)
        assert check.passed is False and check.value == 5

    @pytest.mark.usefixtures("eagerly")
    def test_blocks_are_the_same_as_steps(self, config_name):
        network = self.make(config_name)
        condition = self.condition_of(network, 3)
        x, params = generated(network, by_steps=True, jit_compile=False, condition=condition)
        blocks = generated(network, by_steps=False, jit_compile=False, condition=condition)
        np.testing.assert_allclose(blocks[0], x, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(blocks[1], params, rtol=1e-10, atol=1e-10)
        for layer in [*network.hidden, network.out, network.direct]:
            if layer is not None:
                layer.premask()
        with exporting():  # In larger blocks, and without the masks.
            exported = generated(network, by_steps=False, jit_compile=False, condition=condition)
        np.testing.assert_allclose(exported[0], x, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(exported[1], params, rtol=1e-10, atol=1e-10)
        # And the parameters are those of `call` at the x generated, the positions where they belong.
        expected = network(x, condition=condition)
        np.testing.assert_allclose(params, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.slow
    @pytest.mark.parametrize("config", ["blocks of four, random order", "condition", "D = 1"])
    def test_xla_gives_the_same(self, config):
        network = self.make(config)
        condition = self.condition_of(network, 3)
        expected = generated(network, by_steps=True, jit_compile=False, condition=condition)
        for by_steps in (False, True):
            x, params = generated(network, by_steps=by_steps, jit_compile=True, condition=condition)
            np.testing.assert_allclose(x, expected[0], rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(params, expected[1], rtol=1e-10, atol=1e-10)

    def test_gradients_flow_through_generation(self):
        # Of the loop's output in the noise and the weights, against those of differences.
        network = self.make("blocks of four")
        noise = tf.constant(np.random.default_rng(3).normal(size=(2, 18)))

        def loss(u):
            x = network.generate(lambda position, params, u_t: (params[:, 0] + tf.exp(tf.tanh(params[:, 1])) * u_t, []), u)[0]
            return tf.reduce_sum(x**2)

        with tf.GradientTape() as tape:
            tape.watch(noise)
            value = loss(noise)
        kernel = network.hidden[0].kernel
        of_noise, of_kernel = tape.gradient(value, [noise, kernel.value])
        direction = np.random.default_rng(1).normal(size=noise.shape)
        difference = (loss(noise + 1e-6 * direction) - loss(noise - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(np.sum(of_noise * direction), difference, rtol=1e-6)
        direction = np.random.default_rng(2).normal(size=kernel.shape)
        start = kernel.numpy()
        kernel.assign(start + 1e-6 * direction)
        up = loss(noise)
        kernel.assign(start - 1e-6 * direction)
        difference = (up - loss(noise)) / 2e-6
        np.testing.assert_allclose(np.sum(tf.convert_to_tensor(of_kernel) * direction), difference, rtol=1e-6)

    def test_input_order_is_what_it_says(self):
        assert self.make().order.tolist() == [0, 1, 2, 3, 4, 5]
        assert self.make("right to left").order.tolist() == [5, 4, 3, 2, 1, 0]
        assert self.make("given order").order.tolist() == [3, 0, 5, 1, 4, 2]
        seeds = [self.make(input_order="random", seed=seed).order.tolist() for seed in (0, 0, 1)]
        assert seeds[0] == seeds[1] != seeds[2]

    def test_start_at_sets_the_parameters_of_no_input(self, config_name):
        network = self.make(config_name)
        for weight in network.weights:
            weight.assign(tf.zeros_like(weight))
        params = np.random.default_rng(0).normal(size=(*network.event_shape, network.params_size))
        network.start_at(tf.constant(params))
        x = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        np.testing.assert_allclose(network(x, condition=self.condition_of(network, 2)), [params, params], rtol=1e-12)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"input_order": "up"}, r"`input_order` must be one of .*left-to-right.*Received: 'up'"),
            ({"input_order": (0, 0, 1, 2, 3, 4)}, r"permutation of 0..5. Received"),
            ({"input_order": (0, 1)}, r"permutation of 0..5. Received"),
            ({"hidden_degrees": "odd"}, r"'sequential' or 'random'. Received: 'odd'"),
            ({"hidden_units": ()}, r"at least one hidden layer. Received: hidden_units=\(\)"),
            ({"hidden_units": (3, 4), "residual": True}, r"one width. Received: hidden_units=\(3, 4\)"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)

    def test_unknown_argument(self):
        with pytest.raises((TypeError, ValueError), match="hiden_units"):
            MADE((3,), hiden_units=(4,))

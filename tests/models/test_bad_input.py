import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")

M = tfdgm.models
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


@pytest.fixture(scope="module")
def real():
    return compiled(M.MAF((3,), num_layers=1, hidden_units=(4,)))


@pytest.fixture(scope="module")
def integers():
    return compiled(M.MADE((3,), levels=4, hidden_units=(4,)))


@pytest.fixture(scope="module")
def conditional():
    return compiled(M.MAF((3,), num_layers=1, hidden_units=(4,), condition_shape=(2,)))


def compiled(model):
    model.use_xla = False
    model.compile("adam")
    return model


METHODS = {
    "log_prob": lambda model, x, **c: model.log_prob(x, **c),
    "bits_per_dim": lambda model, x, **c: model.bits_per_dim(x, **c),
    "fit": lambda model, x, **c: model.fit(x, verbose=0, **c),
    "evaluate": lambda model, x, **c: model.evaluate(x, verbose=0, **c),
    "adapt": lambda model, x, **c: model.adapt(x, **c),
    "predict": lambda model, x, **c: model.predict(x, verbose=0, **c),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every_method
class TestData:
    @pytest.mark.parametrize("shape", [(10, 4), (10, 2), (10,), (3, 10), (3, 1)])
    def test_event_shape(self, method, shape, real):
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(3,\)") as caught:
            method(real, np.zeros(shape, "float32"))
        assert f"Received: x.shape={shape}" in str(caught.value)

    @pytest.mark.parametrize(
        "x", [np.array([["a", "b", "c"]]), np.array([[{}, None, 1]], object), np.zeros((2, 3), complex), [[1, 2], [3]]]
    )
    def test_dtype(self, method, x, real):
        with pytest.raises(ValueError, match=r"`x` must (hold numbers|be an array of numbers).*Received: "):
            method(real, x)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, method, value, real):
        x = X.copy()
        x[4, 1] = value
        with pytest.raises(ValueError, match=r"`x` must be finite. Received: -?(nan|inf) at index \(4, 1\)"):
            method(real, x)

    def test_masked_entries(self, method, real):
        for x in (np.ma.masked_array(X, mask=X > 1), list(np.ma.masked_array(X, mask=X > 1))):
            with pytest.raises(ValueError, match=r"`x` must have no masked entries. Received: a numpy.ma array"):
                method(real, x)
        method(real, np.ma.masked_array(X, mask=False))

    def test_masked_entries_of_a_condition(self, method, conditional):
        with pytest.raises(ValueError, match=r"`condition` must have no masked entries. Received: a numpy.ma array"):
            method(conditional, X, condition=np.ma.masked_array(np.ones((12, 2)), mask=np.eye(12, 2)))

    def test_too_large_for_float32(self, method, real):
        with pytest.raises(ValueError, match=r"`x` must fit in float32. Received: values up to 1e\+300"):
            method(real, np.full((2, 3), 1e300))

    @pytest.mark.parametrize(("value", "received"), [(4, "0 to 4"), (-1, "-1 to 0"), (255, "0 to 255")])
    def test_outside_the_levels(self, method, value, received, integers):
        x = np.zeros((5, 3), np.int64)
        x[2, 2] = value
        with pytest.raises(ValueError, match=rf"`x` must hold integers 0..3. Received: values from {received}"):
            method(integers, x)

    def test_fractions_for_integers(self, method, integers):
        with pytest.raises(ValueError, match=r"`x` must hold integers 0..3. Received: 0.5"):
            method(integers, np.full((2, 3), 0.5))

    def test_nan_for_integers(self, method, integers):
        with pytest.raises(ValueError, match=r"`x` must hold integers 0..3. Received: nan"):
            method(integers, np.full((2, 3), np.nan))

    def test_condition_missing(self, method, conditional):
        with pytest.raises(ValueError, match=r"needs a `condition` that ends in condition_shape=\(2,\). Received: None"):
            method(conditional, X)

    def test_condition_of_another_shape(self, method, conditional):
        for shape in ((12, 3), (11, 2), (12,)):
            with pytest.raises(ValueError, match=r"`condition` must have shape \(12, 2\) or \(2,\)") as caught:
                method(conditional, X, condition=np.zeros(shape))
            assert f"Received: condition.shape={shape}" in str(caught.value)

    def test_condition_not_finite_or_no_number(self, method, conditional):
        with pytest.raises(ValueError, match=r"`condition` must be finite. Received"):
            method(conditional, X, condition=np.full((12, 2), np.nan))
        with pytest.raises(ValueError, match=r"`condition` must hold numbers. Received: dtype=<U1"):
            method(conditional, X, condition=np.full((12, 2), "a"))

    def test_condition_not_wanted(self, method, real):
        with pytest.raises(ValueError, match=r"takes no `condition`"):
            method(real, X, condition=np.zeros((12, 2)))


class TestGoodDataOfOtherDtypes:
    def test_integers_bools_and_lists_are_taken(self, real, integers):
        expected = real.log_prob(np.ones((2, 3), "float32"))
        for x in (np.ones((2, 3), np.int64), np.ones((2, 3), bool), [[1, 1, 1]] * 2, tf.ones((2, 3), tf.float64)):
            np.testing.assert_array_equal(real.log_prob(x), expected)
        expected = integers.log_prob(np.ones((2, 3), "int32"))
        for x in (np.ones((2, 3)), np.ones((2, 3), np.uint8), [[1, 1, 1]] * 2, tf.ones((2, 3), tf.int64)):
            np.testing.assert_array_equal(integers.log_prob(x), expected)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
class TestTfData:
    def run(self, method, model, data):
        return getattr(model, method)(data, verbose=0)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite_inside(self, method, value, real):
        x = X.copy()
        x[9, 0] = value
        with pytest.raises(ValueError, match=r"`x` must be finite. Received: NaN or infinity"):
            self.run(method, real, tf.data.Dataset.from_tensor_slices(x).batch(4))

    def test_outside_the_levels_inside(self, method, integers):
        x = np.zeros((12, 3), np.int32)
        x[9, 0] = 7
        with pytest.raises(ValueError, match=r"`x` must hold integers 0..3. Received: 0 to 7"):
            self.run(method, integers, tf.data.Dataset.from_tensor_slices(x).batch(4))

    def test_fractions_inside(self, method, integers):
        with pytest.raises(ValueError, match=r"`x` must hold integers 0..3. Received: "):
            self.run(method, integers, tf.data.Dataset.from_tensor_slices(np.full((4, 3), 1.5)).batch(4))

    def test_condition_not_finite_inside(self, method, conditional):
        data = tf.data.Dataset.from_tensor_slices((X, np.full((12, 2), np.nan, "float32"))).batch(4)
        with pytest.raises(ValueError, match="`condition` must be finite"):
            self.run(method, conditional, data)

    def test_generators(self, method, real):
        class Rows(keras.utils.PyDataset):
            def __len__(self):
                return 1

            def __getitem__(self, index):
                return X[:, :2]

        for rows in (Rows(), (X[:, :2] for _ in range(2))):
            with pytest.raises(ValueError, match=r"shape \(None, 3\). Received: \(None, 2\)|event_shape=\(3,\)"):
                self.run(method, real, rows)

    def test_element_spec(self, method, real, conditional):
        rows = tf.data.Dataset.from_tensor_slices(X)
        with pytest.raises(ValueError, match=r"shape \(None, 3.*Received: \(3,\)"):
            self.run(method, real, rows)  # Not batched.
        with pytest.raises(ValueError, match=r"shape \(None, 3.*Received: \(None, 2\)"):
            self.run(method, real, tf.data.Dataset.from_tensor_slices(X[:, :2]).batch(4))
        with pytest.raises(ValueError, match=r"x must hold numbers. Received: dtype=string"):
            self.run(method, real, tf.data.Dataset.from_tensor_slices([["a"] * 3] * 4).batch(4))
        with pytest.raises(ValueError, match=r"batches of \(x, condition\), or of dicts.* Received"):
            self.run(method, conditional, rows.batch(4))
        with pytest.raises(ValueError, match=r"a tf.data of batches of x, or of dicts.* Received"):
            self.run(method, real, tf.data.Dataset.from_tensor_slices((X, X)).batch(4))
        with pytest.raises(ValueError, match=r"put the condition inside"):
            getattr(conditional, method)(rows.batch(4), np.zeros((12, 2)), verbose=0)
        with pytest.raises(ValueError, match=r"put the weight inside"):
            getattr(real, method)(rows.batch(4), sample_weight=np.ones(12), verbose=0)

    @pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras says so before we do.
    def test_empty(self, method, real):
        with pytest.raises(ValueError, match=r"empty"):
            model = compiled(M.MAF((3,), num_layers=1, hidden_units=(4,)))
            self.run(method, model, tf.data.Dataset.from_tensor_slices(X[:0]).batch(4))


class TestTraining:
    @pytest.mark.parametrize("method", ["fit", "evaluate"])
    def test_empty_array(self, method, real):
        with pytest.raises(ValueError, match=r"at least one row. Received: x.shape=\(0, 3\)"):
            getattr(real, method)(X[:0], verbose=0)

    def test_one_event_without_a_batch(self, real):
        with pytest.raises(ValueError, match=r"shape \[n, \*\(3,\)\]. Received: x.shape=\(3,\)"):
            real.fit(X[0], verbose=0)

    def test_validation_data_is_checked_as_well(self, real, conditional):
        with pytest.raises(ValueError, match=r"`validation_data` must end in event_shape=\(3,\)"):
            real.fit(X, validation_data=X[:, :2], verbose=0)
        with pytest.raises(ValueError, match=r"`validation_data` must be finite"):
            real.fit(X, validation_data=X * np.nan, verbose=0)
        with pytest.raises(ValueError, match=r"needs a `condition`"):
            conditional.fit(X, np.zeros((12, 2)), validation_data=X, verbose=0)

    def test_masked_entries_elsewhere(self, real, integers, conditional):
        masked = np.ma.masked_array(np.zeros((12, 3), "int32"), mask=np.eye(12, 3))
        for call, name in (
            (lambda: real.fit(X, validation_data=masked, verbose=0), "validation_data"),
            (lambda: integers.complete(masked, np.ones(3)), "x"),
            (lambda: integers.complete(np.zeros((12, 3)), masked), "known"),
            (lambda: conditional.sample(12, condition=masked[:, :2]), "condition"),
        ):
            with pytest.raises(ValueError, match=f"`{name}` must have no masked entries"):
                call()

    def test_loss_is_built_in(self):
        with pytest.raises(ValueError, match="The loss is built in"):
            M.MAF((3,), num_layers=1, hidden_units=(4,)).compile("adam", loss="mse")

    @pytest.mark.parametrize("name", ["metrics", "weighted_metrics", "loss_weights"])
    def test_metrics_are_refused(self, name):
        with pytest.raises(ValueError, match=f"Leave `{name}` out of compile"):
            M.MAF((3,), num_layers=1, hidden_units=(4,)).compile("adam", **{name: ["mse"]})

    @pytest.mark.parametrize("name", ["y", "class_weight"])
    def test_arguments_of_keras_without_a_meaning(self, name, real):
        with pytest.raises(ValueError, match=f"`{name}` is not supported"):
            real.fit(X, verbose=0, **{name: np.ones(12)})

    @pytest.mark.parametrize("fraction", [1.0, 1.5, -0.5, 0.01])
    def test_validation_split_that_leaves_no_rows(self, fraction, real):
        with pytest.raises(ValueError, match=f"leave rows to both parts. Received: validation_split={fraction} of 12 rows"):
            real.fit(X, validation_split=fraction, verbose=0)

    @pytest.mark.parametrize("size", [0, -1, 2.5])
    def test_batch_size(self, size, real):
        with pytest.raises(ValueError, match=f"`batch_size` must be an integer, 1 or more. Received: batch_size={size}"):
            real.fit(X, batch_size=size, verbose=0)

    def test_nothing_to_train(self):
        model = compiled(tfdgm.DensityModel.from_distribution(tfd.Normal(0.0, 1.0)))
        with pytest.raises(ValueError, match="nothing to train"):
            model.fit(np.zeros(5), verbose=0)
        np.testing.assert_allclose(model.log_prob(0.0), -0.5 * np.log(2 * np.pi), rtol=1e-6)

    @pytest.mark.parametrize(
        "offset,scale,warns", [(1.7e9, 10, True), (1.7e9, 1000, True), (5, 0, True), (2000, 10, False), (0, 1e-25, False)]
    )
    def test_what_varies_too_little_for_float32_is_warned_of(self, offset, scale, warns):
        x = np.random.default_rng(0).normal(size=(50, 3)) * [1, scale, 1] + [0, offset, 0]
        model = M.MAF((3,), num_layers=1, hidden_units=(4,))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.adapt(x)
        assert len(caught) == warns
        assert all(str(w.message).startswith("x[:, 1] varies too little for float32: standard deviation") for w in caught)
        z = model.distribution.to_base(tf.constant(x, "float32"))[0].numpy()
        if not warns:
            np.testing.assert_allclose(z.std(axis=0), 1, rtol=0.01)

    def test_what_a_float64_model_is_warned_of(self):
        x = np.random.default_rng(0).normal(size=(50, 4)) * [50, 1e-6, 1e-200, 0] + [1e9, 1e9, 0, 3]
        with pytest.warns(UserWarning, match=r"^x\[:, 1\] varies too little for float64: .* So do others, 2 in all") as caught:
            tfdgm.models.MAF((4,), num_layers=1, hidden_units=(4,), dtype="float64").adapt(x)
        assert len(caught) == 1

    def test_errors_leave_the_weights_alone(self, real):
        before = real.get_weights()
        for x in (X[:, :2], X * np.nan, "text"):
            with pytest.raises(ValueError):
                real.fit(x, verbose=0)
        for weight, value in zip(real.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, value)


class TestSampling:
    @pytest.mark.parametrize("n", [-1, 2.5])
    def test_number_of_samples(self, n, real):
        with pytest.raises(ValueError, match=rf"`n` must be an integer, 0 or more. Received: n={n}"):
            real.sample(n)

    @pytest.mark.parametrize("seed", [2**40 + 1, 1.7, "1"])
    def test_seed(self, seed, real):
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            real.sample(1, seed=seed)

    def test_condition(self, real, conditional):
        with pytest.raises(ValueError, match=r"needs a `condition`"):
            conditional.sample(3)
        with pytest.raises(ValueError, match=r"must have shape \(3, 2\) or \(2,\). Received: condition.shape=\(4, 2\)"):
            conditional.sample(3, condition=np.zeros((4, 2)))
        with pytest.raises(ValueError, match=r"takes no `condition`"):
            real.sample(3, condition=np.zeros(2))


class TestConstructors:
    @pytest.mark.parametrize("cls", [M.MADE, M.MAF, M.IAF, M.RealNVP, M.GaussianMixture], ids=lambda cls: cls.__name__)
    def test_unknown_keyword(self, cls):
        with pytest.raises(TypeError, match="num_layer_s"):
            cls((3,), num_layer_s=2)

    def test_realnvp_needs_two_dimensions(self):
        with pytest.raises(ValueError, match=r"at least 2 dimensions. Received: event_shape=\(1,\)"):
            M.RealNVP((1,))

    @pytest.mark.parametrize(
        "cls,options,expected",
        [
            (M.MAF, {"event_shape": 2}, "`event_shape` must be a tuple of integers"),
            (M.MAF, {"event_shape": (3, 0)}, "`event_shape` must be a tuple of integers"),
            (M.MAF, {"condition_shape": 2}, "`condition_shape` must be a tuple of integers"),
            (M.MAF, {"hidden_units": 64}, "`hidden_units` must be a tuple of integers"),
            (M.MADE, {"hidden_units": (4, 0)}, "`hidden_units` must be a tuple of integers"),
            (M.RealNVP, {"hidden_units": (1.5,)}, "`hidden_units` must be a tuple of integers"),
            (M.RealNVP, {"num_layers": -1}, "`num_layers` must be an integer, 1 or more"),
            (M.GaussianMixture, {"num_components": 0}, "`num_components` must be an integer, 1 or more"),
            (M.MADE, {"levels": None, "num_components": 0}, "`num_components` must be an integer, 1 or more"),
            (M.MADE, {"levels": 1}, "`levels` must be an integer, 2 to"),
            (M.RealNVP, {"levels": -3}, "`levels` must be an integer, 2 to"),
            (M.MAF, {"seed": -1}, "`seed` must be an integer, 0 to"),
            (M.MAF, {"seed": 2**40}, "`seed` must be an integer, 0 to"),
        ],
    )
    def test_values_that_no_model_takes(self, cls, options, expected):
        name, value = list(options.items())[-1]
        with pytest.raises(ValueError, match=f"{expected}.*Received: {name}={re.escape(repr(value))}"):
            cls(**{"event_shape": (3,), **options})

    @pytest.mark.parametrize(
        "make,options,expected",
        [
            (M.MAF, {"residual": "False"}, "`residual` must be True or False."),
            (M.MAF, {"act_norm": 1}, "`act_norm` must be True or False."),
            (M.MADE, {"num_components": 2.0}, "`num_components` must be an integer."),
            (M.RealNVP, {"num_layers": "2"}, "`num_layers` must be an integer."),
            (M.RealNVP, {"num_layers": True}, "`num_layers` must be an integer."),
            (M.MADE, {"seed": True}, "`seed` must be an integer, 0 to 2147483647."),
            (M.MADE, {"dropout": "0.1"}, "`dropout` must be a number."),
            (M.MAF, {"hidden_units": "8"}, "`hidden_units` must be a tuple of integers, each 1 or more, e.g. (64, 64)."),
            (M.PixelCNN, {"event_shape": (2, 2), "filters": 8.0}, "`filters` must be an integer."),
            (tfdgm.networks.MADE, {"direct": "yes"}, "`direct` must be True or False."),
            (tfdgm.networks.PixelSNAIL, {"event_shape": (2, 2), "dropout": False}, "`dropout` must be a number."),
            (
                lambda event_shape, **options: tfdgm.networks.DenseNetwork(2, 2, **options),
                {"residual": "no"},
                "`residual` must be True or False.",
            ),
        ],
    )
    def test_values_of_another_type_than_the_default(self, make, options, expected):
        name, value = list(options.items())[-1]
        with pytest.raises(ValueError, match="^" + re.escape(f"{expected} Received: {name}={value!r}") + "$"):
            make(**{"event_shape": (3,), **options})

    def test_numpys_numbers_and_lists_are_taken(self):
        model = M.MAF([3], num_layers=np.int64(1), hidden_units=[4], residual=np.bool_(True), seed=np.int32(3))
        assert model.get_config()["residual"] is True and model.get_config()["num_layers"] == 1
        assert M.MADE((3,), hidden_units=(4,), levels=None, dropout=0).levels is None

    def test_bad_options_of_the_network(self):
        with pytest.raises(ValueError, match="`input_order` must be one of"):
            M.MADE((3,), input_order="up")
        with pytest.raises(ValueError, match="Received: hidden_units"):
            M.MADE((3,), hidden_units=())

    def test_from_distribution(self):
        with pytest.raises(ValueError, match=r"batch_shape=\(\)"):
            tfdgm.DensityModel.from_distribution(tfd.Normal(tf.zeros(3), 1.0))
        with pytest.raises(TypeError, match=r"Distribution. Received: (str|MAF)"):
            tfdgm.DensityModel.from_distribution("normal")


def test_keras_sees_the_models_as_models():
    assert issubclass(tfdgm.DensityModel, keras.Model)


@pytest.mark.parametrize("cls", ["MAF", "IAF", "RealNVP"])
def test_a_flow_of_no_layers(cls):
    with pytest.raises(ValueError, match=r"`num_layers` must be an integer, 1 or more\. Received: num_layers=0"):
        getattr(tfdgm.models, cls)((2,), num_layers=0)

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from contracts.cases import CASES, model_cases
from contracts.weights import randomize

import tfdgm
from tfdgm.tasks import FisherEmbedding, fisher_scores

pytestmark = pytest.mark.usefixtures("eagerly")


def difference(model, case, weight, step=1e-6):
    """The central difference of log_prob in every element of one weight, [n, size]."""
    start, columns = weight.numpy().copy(), []
    for i in range(start.size):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved.flat[i] += sign * step
            weight.assign(moved)
            values.append(np.asarray(model.log_prob(**case.first(5))))
        columns.append((values[0] - values[1]) / (2 * step))
    weight.assign(start)
    return np.stack(columns, axis=1)


class TestFisherScores:
    @pytest.mark.slow
    @model_cases("made_categorical", "pixelcnn_condition", "gated_pixelcnn")
    def test_against_finite_differences(self, case):
        model = case.make(seed=2, dtype="float64")
        given = case.first(5)
        x, condition = given["x"], given.get("condition")
        network = model.distribution.network
        layer = network.out if case.name == "made_categorical" else network.head[-1]
        scores = fisher_scores(model, x, condition=condition)
        expected = np.concatenate([difference(model, case, weight) for weight in layer.trainable_weights], axis=1)
        if case.name == "made_categorical":
            # Perturbing a weight that a mask cuts off changes nothing, and nor does its score.
            assert (scores[:, np.abs(expected).max(axis=0) == 0] == 0).all()
        assert scores.dtype == np.float64 and np.abs(scores).max() > 0.1
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(fisher_scores(model, x, layer, condition=condition), scores)

    def test_chosen_weights_in_the_order_given(self):
        case = CASES["maf"]
        model = case.make(seed=2, dtype="float64")
        chosen = [model.trainable_weights[3], model.trainable_weights[0]]
        expected = np.concatenate([difference(model, case, weight) for weight in chosen], axis=1)
        np.testing.assert_allclose(fisher_scores(model, case.x[:5], chosen), expected, rtol=1e-5, atol=1e-6)

    def test_its_mean_under_the_model_is_zero(self):
        """E g(x) = 0, by the sum over all events."""
        model = CASES["made_categorical"].make(seed=2, dtype="float64")
        events = np.stack(np.meshgrid(*[range(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        p = np.exp(np.asarray(model.log_prob(events)))
        np.testing.assert_allclose(p @ fisher_scores(model, events), 0, atol=1e-12)

    def test_weights_that_are_not_the_models(self):
        model = CASES["made_categorical"].make()
        for weights in ([keras.Variable(1.0)], []):
            with pytest.raises(ValueError, match=r"`weights` must be trainable weights of the model, or a layer of it\. Rec"):
                fisher_scores(model, CASES["made_categorical"].x, weights)

    def test_no_default_for_a_flow(self):
        with pytest.raises(ValueError, match=r"MAF has no output layer .* name `weights`"):
            fisher_scores(CASES["maf"].make(), CASES["maf"].x)

    def test_bad_x(self):
        model = CASES["made_categorical"].make()
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(3,\)"):
            fisher_scores(model, np.zeros((2, 4), int))
        with pytest.raises(ValueError, match=r"`x` must have shape \[n, \*\(3,\)\]"):
            fisher_scores(model, np.zeros(3, int))


@pytest.fixture(scope="module")
def digits():
    return sklearn.datasets.load_digits().images.astype(int)[:200]


@pytest.fixture(scope="module")
def embedding(digits):
    model = randomize(tfdgm.models.MADE((8, 8), levels=17, hidden_units=(20,)), scale=0.3)
    embedding = FisherEmbedding(model, size=64, hidden_units=(128,))
    embedding.history = embedding.fit(digits, epochs=60, batch_size=20).history
    return embedding


@pytest.mark.slow
class TestFisherEmbedding:
    @pytest.mark.slow
    def test_the_projection_about_keeps_distances(self, embedding, digits):
        model, x = embedding.model, digits[:20]
        large = FisherEmbedding(model, size=1024)
        scores, projected = fisher_scores(model, x), large.encode(x)  # Before fit: R g(x).
        far, near = (np.linalg.norm(e[:, None] - e, axis=-1)[np.triu_indices(20, 1)] for e in (scores, projected))
        assert 0.97 < np.mean(near / far) < 1.03 and np.std(near / far) < 0.15

    @pytest.mark.slow
    def test_the_decoder_finds_images(self, embedding, digits):
        error = np.square(embedding.decode(embedding.encode(digits)) - digits).mean()
        assert error < 0.3 * np.square(digits - digits.mean(axis=0)).mean()

    def test_interpolation_ends_at_the_images_decoded(self, embedding, digits):
        line = embedding.interpolate(digits[:3], digits[3:6], num=5)
        assert line.shape == (3, 5, 8, 8) and line.min() >= 0 and line.max() <= 16
        np.testing.assert_allclose(line[:, 0], embedding.decode(embedding.encode(digits[:3])), atol=1e-3)
        np.testing.assert_allclose(line[:, -1], embedding.decode(embedding.encode(digits[3:6])), atol=1e-3)
        middle = (embedding.encode(digits[:3]) + embedding.encode(digits[3:6])) / 2
        np.testing.assert_allclose(line[:, 2], embedding.decode(middle), atol=1e-3)

    def test_the_same_seed_gives_the_same_embedding(self, embedding, digits):
        a, b, c = (FisherEmbedding(embedding.model, size=8, seed=seed).encode(digits[:5]) for seed in (1, 1, 2))
        assert (a == b).all() and (a != c).any() and tf.reduce_all(tf.math.is_finite(a))

    def test_bad_input(self, embedding, digits):
        with pytest.raises(ValueError, match=r"as many last images as first ones. Received: 2 and 3"):
            embedding.interpolate(digits[:2], digits[:3])
        with pytest.raises(ValueError, match=r"Expected a model without condition. Received: condition_shape=\(2,\)"):
            FisherEmbedding(CASES["made_binary_condition"].make())

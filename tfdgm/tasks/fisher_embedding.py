import math

import keras
import numpy as np
import tensorflow as tf

from tfdgm.tasks.fisher_scores import chosen_weights, map_scores


class FisherEmbedding:
    """Fisher scores made short enough to work in, and a way back to images: Yan et al. 2019, arXiv:1912.05015.

        e(x) = (R g(x) - m) / s,  d(e) = the decoder,  between a and b: d((1 - l) e(a) + l e(b)),  0 <= l <= 1

    g(x) is the Fisher score of x (`fisher_scores`), R a very sparse random projection, which about keeps distances (Li et al.
    2006, doi:10.1145/1150402.1150436: entries +-sqrt(q / size) with probability 1 / (2 q) each, else 0; q = sqrt of the number
    of weights). As in the paper, scores do not map back to images by themselves: a decoder is trained on images to minimize the
    reconstruction error, here the squared error, so what lies between two images is the decoder's mean and may be blurred.
    Ours: standardisation by the mean m and deviation s of the training images, and a dense network as decoder. It needs tens of
    thousands of images: compare `decode(encode(x))` with x on images it was not fitted to. The gradients of biases alone
    (`weights=[layer.bias]`) are short vectors, quick to take, and were easier to decode than those of a large kernel.

        embedding = FisherEmbedding(model, size=256)
        embedding.fit(x, epochs=30)
        images = embedding.interpolate(x[:5], x[5:10], num=8)  # [5, 8, *event_shape]

    Args:
      model: a `DensityModel` without condition.
      size: length of e(x).
      weights: as in `fisher_scores`.
      hidden_units: widths of the decoder.
      seed: of R and of the decoder.
    """

    def __init__(self, model, *, size=256, weights=None, hidden_units=(512, 512), seed=0):
        if model.condition_shape is not None:
            raise ValueError(f"Expected a model without condition. Received: condition_shape={model.condition_shape}")
        self.model, self.size = model, size
        self._variables = chosen_weights(model, weights)
        self._projection = _sparse_projection(self._variables, size, seed)
        self._mean, self._deviation = 0.0, 1.0
        event_size = math.prod(model.event_shape)
        layers = [keras.Input((size,))]
        for i, units in enumerate(hidden_units):
            layers.append(keras.layers.Dense(units, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed + i)))
        layers.append(keras.layers.Dense(event_size, kernel_initializer=keras.initializers.GlorotUniform(seed)))
        self.decoder = keras.Sequential([*layers, keras.layers.Reshape(model.event_shape)])

    def fit(self, x, *, epochs=30, batch_size=64, learning_rate=1e-3, verbose=0):
        """Sets m and s, and trains the decoder, on images x [n, *event_shape]. Returns Keras's history, of the squared error
        with levels scaled to 0..1."""
        projected = self._project(x)
        self._mean = projected.mean(axis=0)
        deviation = projected.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1)
        self.decoder.compile(keras.optimizers.Adam(learning_rate), loss="mse")
        target = np.asarray(x, "float32") / self._scale
        return self.decoder.fit(self._standardized(projected), target, epochs=epochs, batch_size=batch_size, verbose=verbose)

    def encode(self, x):
        """x [n, *event_shape] -> e(x) [n, size]."""
        return self._standardized(self._project(x))

    def decode(self, embeddings):
        """[n, size] -> images [n, *event_shape]: real numbers, within 0..levels-1 where the model has levels."""
        x = np.asarray(self.decoder(tf.constant(embeddings, tf.float32))) * self._scale
        return x if self.model.levels is None else np.clip(x, 0, self._scale)

    def interpolate(self, first, last, num=8):
        """Images first, last [n, *event_shape] -> [n, num, *event_shape] on the straight lines between their embeddings, both
        ends included."""
        a, b = self.encode(first), self.encode(last)
        if a.shape != b.shape:
            raise ValueError(f"Expected as many last images as first ones. Received: {len(a)} and {len(b)}")
        between = np.linspace(0, 1, num, dtype=a.dtype)[:, None]
        line = (1 - between) * a[:, None] + between * b[:, None]
        return self.decode(line.reshape(-1, self.size)).reshape(len(a), num, *self.model.event_shape)

    def _project(self, x):
        def project(score):
            return tf.sparse.sparse_dense_matmul(self._projection, score[:, None])[:, 0]

        return np.asarray(map_scores(self.model, x, self._variables, None, project))

    def _standardized(self, projected):
        return (projected - self._mean) / self._deviation

    @property
    def _scale(self):
        return 1 if self.model.levels is None else self.model.levels - 1


def _sparse_projection(variables, size, seed):
    """R as a SparseTensor [size, number of weights]."""
    random = np.random.default_rng(seed)
    width = sum(math.prod(weight.shape) for weight in variables)
    q = math.sqrt(width)
    # Entries not 0 are so few that two of a row in one place, added up, change nothing.
    count = random.binomial(size * width, 1 / q)
    places = np.unique(random.integers(0, size * width, count))
    values = random.choice([-1.0, 1.0], len(places)) * math.sqrt(q / size)
    indices = np.stack([places // width, places % width], axis=1)
    return tf.SparseTensor(indices, tf.constant(values, variables[0].dtype), (size, width))

import keras
from contracts.weights import randomize

import tfdgm


class ModelCase:
    """A model of tiny size, made anew by `make()`, and data for it. A subclass gives the attributes; see `contracts.cases`."""

    #: Unique, for tests that name a case.
    name = None
    cls = None
    config = {}
    #: Rows of data [48, *event_shape], and of conditions [48, 2] of a model that takes them.
    x = None
    condition = None

    @classmethod
    def make(cls, *, seed=None, use_xla=False, **changes):
        """The model; with `seed`, of random weights. XLA takes seconds to compile, so only tests of XLA use it."""
        model = cls.cls(**{**cls.config, **changes})
        model.use_xla = use_xla
        if seed is not None:
            randomize(model, seed, scale=0.7)
            for layer in model._flatten_layers():
                if isinstance(layer, tfdgm.layers.MaskedDense):
                    layer.premask()  # As the export does: what cut connections hold is not part of the model.
        return model

    @classmethod
    def adapted(cls):
        """The model with random weights and what is set from data: as if trained, in less time."""
        model = cls.make(seed=1)
        model.adapt(cls.x, cls.condition)
        return model

    @classmethod
    def exact(cls, **changes):
        """`adapted` in float64, its weights random even where they were set from data."""
        model = cls.make(seed=1, dtype="float64", **changes)
        model.adapt(cls.x, cls.condition)
        return randomize(model, 1, scale=0.7)

    @classmethod
    def trained(cls, optimizer="adam"):
        """The model with random weights, trained for a few steps."""
        model = cls.make(seed=1)
        model.compile(optimizer)
        cls.train(model)
        return model

    @classmethod
    def train(cls, model):
        """One epoch, the same for every model of the case."""
        model.fit(cls.x, cls.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)

    @classmethod
    def condition_of(cls, n, dtype="float32"):
        """The first n conditions as a tensor, or None."""
        return None if cls.condition is None else keras.ops.convert_to_tensor(cls.condition[:n], dtype)

    @classmethod
    def first(cls, n):
        """The first n rows, as arguments of log_prob."""
        return {"x": cls.x[:n], **({} if cls.condition is None else {"condition": cls.condition[:n]})}

"""Runs under another backend of Keras (KERAS_BACKEND) as if neither TensorFlow nor what needs it were installed.

python without_tensorflow.py tfdgm ARGUMENTS             the command line
python without_tensorflow.py killed ARGUMENTS            the same, killed when the fourth epoch begins
python without_tensorflow.py gradients IN.pkl OUT.pkl    losses and gradients of networks: see test_any_backend.py
"""

import importlib.machinery
import os
import pickle
import signal
import sys

_find = importlib.machinery.PathFinder.find_spec
_MISSING = ("tensorflow", "tf_keras", "tensorflow_probability", "tensorflow_datasets")
importlib.machinery.PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] in _MISSING else _find(name, *rest)


def gradients(cases):
    """{name: (loss, gradients)} of one training batch in float64, with the weights given, in their order."""
    import keras
    import numpy as np

    from tfdgm.data.content import Content, Part
    from tfdgm.zoo.any_backend_trainer import build_model
    from tfdgm.zoo.recipe import Recipe

    results = {}
    for name, case in cases.items():
        part = Part(case["x"], case["condition"])
        what = Content(name, {"train": part}, case["recipe"]["model"]["levels"], "", "")
        model = build_model(Recipe(case["recipe"]), what)
        expected = [tuple(value.shape) for value in case["weights"]]
        assert [tuple(w.shape) for w in model.weights] == expected, (name, [w.path for w in model.weights], expected)
        for weight, value in zip(model.weights, case["weights"], strict=True):
            weight.assign(value)
        batch = {"x": case["x"], "weight": np.ones(len(case["x"]))}
        if case["condition"] is not None:
            batch["condition"] = case["condition"]
        if keras.backend.backend() == "jax":
            import jax

            state = ([v.value for v in variables] for variables in (model.trainable_variables, model.non_trainable_variables))
            trainable, rest = state

            def loss_of(trainable, rest=rest, model=model, batch=batch):
                y, _ = model.stateless_call(trainable, rest, batch, training=True)
                return model.compute_loss(x=batch, y_pred=y)

            loss, gradient = jax.jit(jax.value_and_grad(loss_of))(trainable)
        else:
            model.zero_grad()
            loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
            loss.backward()
            gradient = [w.value.grad for w in model.trainable_weights]
            loss = loss.detach()
        results[name] = float(loss), [np.zeros(w.shape) if g is None else np.asarray(g)
                                      for w, g in zip(model.trainable_weights, gradient, strict=True)]  # fmt: skip
    return results


if __name__ == "__main__":
    if sys.argv[1] in ("tfdgm", "killed"):
        from tfdgm.cli.main import main

        if sys.argv[1] == "killed":
            from tfdgm.training import Checkpoints

            begin = Checkpoints.on_epoch_begin
            Checkpoints.on_epoch_begin = lambda self, epoch, logs=None: (
                os.kill(os.getpid(), signal.SIGKILL) if epoch == 3 else begin(self, epoch, logs)
            )
        sys.exit(main(sys.argv[2:]))
    import keras

    keras.config.set_floatx("float64")
    with open(sys.argv[2], "rb") as source, open(sys.argv[3], "wb") as target:
        pickle.dump(gradients(pickle.load(source)), target)

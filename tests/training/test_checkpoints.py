import json
import os
import resource

import keras
import numpy as np
import pytest

from tfdgm.training import CheckpointError, Checkpoints

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")


def model():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)])
    model.build((None, 3))
    model.compile(keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.5), "mse", jit_compile=False)
    return model


def fit(model, checkpoints, epochs, stop_at=None):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == stop_at:
                raise KeyboardInterrupt

    model.fit(
        X,
        X[:, :1],
        validation_data=(X[:16], X[:16, :1]),
        initial_epoch=checkpoints.epochs,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[checkpoints, keras.callbacks.SwapEMAWeights(), Kill()],
    )


class TestCheckpoints:
    @pytest.mark.slow
    def test_an_interrupted_training_ends_as_an_unbroken_one(self, tmp_path):
        unbroken, a = model(), Checkpoints(tmp_path / "a")
        fit(unbroken, a, 8)
        with pytest.raises(KeyboardInterrupt):
            fit(model(), Checkpoints(tmp_path / "b"), 8, stop_at=4)
        resumed, b = model(), Checkpoints(tmp_path / "b")
        assert b.restore(resumed) and b.epochs == 4
        fit(resumed, b, 8)
        for x, y in zip(unbroken.weights, resumed.weights, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(a.history["val_loss"], b.history["val_loss"], rtol=1e-5)
        assert a.best_epoch == b.best_epoch and len(b.history["loss"]) == 8 and b.seconds > 0

    def test_best_weights_are_those_that_were_validated(self, tmp_path):
        trained, checkpoints = model(), Checkpoints(tmp_path / "c")
        fit(trained, checkpoints, 6)
        assert checkpoints.best_loss == min(checkpoints.history["val_loss"])
        assert checkpoints.best_epoch == 1 + int(np.argmin(checkpoints.history["val_loss"]))
        for other in (trained, model()):  # From memory, and from disk.
            again = checkpoints if other is trained else Checkpoints(tmp_path / "c")
            assert other is trained or again.restore(other)
            again.set_best_weights(other)
            loss = other.evaluate(X[:16], X[:16, :1], verbose=0)
            np.testing.assert_allclose(loss, checkpoints.best_loss, rtol=1e-5)

    def test_patience_stops_and_is_remembered(self, tmp_path):
        checkpoints = Checkpoints(tmp_path / "c", patience=2)
        trained = model()
        trained.optimizer.learning_rate = 0.0
        fit(trained, checkpoints, 20)
        assert checkpoints.stopped and checkpoints.best_epoch == 1 and checkpoints.epochs == 3
        again = Checkpoints(tmp_path / "c", patience=2)
        assert again.restore(model()) and again.stopped

    def test_only_the_last_state_and_the_best_weights_stay(self, tmp_path):
        checkpoints = Checkpoints(tmp_path / "c")
        fit(model(), checkpoints, 5)
        assert {p.name for p in (tmp_path / "c").iterdir()} == {"state.npz", f"best-{checkpoints.best_epoch}.npz"}

    def test_nothing_to_restore(self, tmp_path):
        assert not Checkpoints(tmp_path / "none").restore(model())

    def test_another_run_is_refused_and_named(self, tmp_path):
        fit(model(), Checkpoints(tmp_path / "c", run={"training": {"seed": 1, "epochs": 2}}), 1)
        with pytest.raises(CheckpointError, match=r"training\.seed: there 1, here 2"):
            Checkpoints(tmp_path / "c", run={"training": {"seed": 2, "epochs": 2}}).restore(model())

    def test_damage_is_an_error_that_names_the_file(self, tmp_path):
        fit(model(), Checkpoints(tmp_path / "c"), 1)
        state = tmp_path / "c" / "state.npz"
        state.write_bytes(state.read_bytes()[:-200])
        with pytest.raises(CheckpointError, match=r"state\.npz is damaged"):
            Checkpoints(tmp_path / "c").restore(model())

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("epochs", "3", "epochs must be int. Received: '3'"),
            ("epochs", None, "epochs must be int"),
            ("best_epoch", "../../other", r"best_epoch must be int \| None. Received: '../../other'"),
            ("best_epoch", 7, r"best-7\.npz is damaged"),
            ("history", [1], "history must be dict"),
            ("seconds", "long", "seconds must be float"),
            ("stopped", "no", "stopped must be bool"),
            (None, [], "the whole must be dict"),
        ],
    )
    def test_what_a_state_says_is_checked(self, name, value, message, tmp_path):
        fit(model(), Checkpoints(tmp_path / "c"), 1)
        with np.load(tmp_path / "c" / "state.npz") as file:
            state = dict(file)
        meta = value if name is None else {**json.loads(str(state["meta"])), name: value}
        np.savez(tmp_path / "c" / "state.npz", **{**state, "meta": json.dumps(meta)})
        with pytest.raises(CheckpointError, match=message):
            Checkpoints(tmp_path / "c").restore(model())

    def test_pipes_and_the_best_weights_of_another(self, tmp_path):
        fit(model(), Checkpoints(tmp_path / "c"), 1)
        best = tmp_path / "c" / "best-1.npz"
        np.savez(best, meta="{}", **{"00000": np.zeros(3)})
        with pytest.raises(CheckpointError, match="holds other weights"):
            Checkpoints(tmp_path / "c").restore(model())
        best.unlink()
        os.mkfifo(best)
        with pytest.raises(CheckpointError, match="it is no file"):
            Checkpoints(tmp_path / "c").restore(model())

    def test_a_full_disk_leaves_the_last_state_whole(self, tmp_path):
        fit(model(), Checkpoints(tmp_path / "c"), 2)
        trained, checkpoints = model(), Checkpoints(tmp_path / "c")
        checkpoints.restore(trained)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(OSError):
                fit(trained, checkpoints, 4)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        again = Checkpoints(tmp_path / "c")
        assert again.restore(model()) and again.epochs == 2

    def test_no_finite_validation_loss(self, tmp_path):
        with pytest.raises(FloatingPointError, match="finite in no epoch"):
            Checkpoints(tmp_path / "c").set_best_weights(model())

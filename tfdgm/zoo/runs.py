"""What every training run does, under whichever backend of Keras. Imports no TensorFlow."""

import contextlib
import datetime
import inspect
import math
import os
import pathlib
import platform
import signal
import sys
import threading

import keras

import tfdgm
from tfdgm.training import CheckpointError, Checkpoints
from tfdgm.unknown_name import unknown_name
from tfdgm.written_aside import written_aside
from tfdgm.zoo.recipe import Recipe, RecipeError

#: What a run under another backend than TensorFlow leaves in its folder, for `tfdgm export`.
RECORD, WEIGHTS = "record.json", "weights.weights.h5"

#: Names in /proc/cpuinfo of arithmetic in half precision.
_ARITHMETIC = {
    "mixed_bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "mixed_float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}


def as_recipe(recipe):
    """A `Recipe` from one, a dict of its sections, or what `Recipe.read` takes."""
    return recipe if isinstance(recipe, Recipe) else Recipe(recipe) if isinstance(recipe, dict) else Recipe.read(recipe)


def identity(recipe):
    """The sections that make a run what it is."""
    return {section: values for section, values in recipe.sections.items() if section != "published"}


def data_options(recipe):
    """The arguments of `tfdgm.data.load` in a recipe, beside the source."""
    options = {key: value for key, value in recipe.data.items() if value is not None and key != "source"}
    return {**options, "dtype": data_dtype(recipe)}


def data_dtype(recipe):
    """What real values are read as: float64 for a model in float64, else float32."""
    try:
        policy = keras.dtype_policies.get(recipe.model.get("dtype"))
    except (TypeError, ValueError):
        received = recipe.model["dtype"]
        raise RecipeError(f"[model]: dtype must be 'float32', 'float64' or a mixed one. Received: {received!r}") from None
    return "float64" if policy.variable_dtype == "float64" else "float32"


def steps_of_epoch(recipe, num_train, num_valid, num_test):
    """Batches in an epoch; a RecipeError where there are no rows for something, or steps_per_execution does not divide them."""
    if not (num_train and num_valid and num_test):
        raise RecipeError(
            f"A run needs rows to train on, to choose the best epoch and to test. Received: {num_train} train, "
            f"{num_valid} validation and {num_test} test rows; see valid_fraction and test_fraction in [data]."
        )
    steps, at_once = -(-num_train // recipe.data["batch_size"]), recipe.training["steps_per_execution"]
    if steps % at_once:
        raise RecipeError(  # Keras would take the missing steps from the next epoch.
            f"[training]: steps_per_execution must divide the {steps} steps of an epoch. Received: steps_per_execution={at_once}"
        )
    return steps


def arguments(recipe, known, found, condition_shape):
    """The recipe's model arguments: those given, and those `found` in data and training; a RecipeError for one not `known`."""
    name = recipe.model["class"]
    given = {key: value for key, value in recipe.model.items() if key != "class"}
    for key in given:
        if key not in known:
            raise RecipeError(f"[model]: {unknown_name(f'argument of {name}', key, known)}")
    if "dtype" in given and recipe.training["precision"] != "float32":
        raise RecipeError(
            "Give dtype in [model] or precision in [training], not both. "
            f"Received: dtype={given['dtype']!r}, precision={recipe.training['precision']!r}"
        )
    if condition_shape is not None:
        if "condition_shape" not in known:
            raise RecipeError(f"{name} takes no condition. Leave `condition` out of [data].")
        found = {**found, "condition_shape": condition_shape}
    return {**{key: value for key, value in found.items() if key in known}, **given}


def check_folder(recipe, output_dir, restart):
    """Refuses to lose what is there."""
    if output_dir.exists() and not output_dir.is_dir():
        raise RecipeError(f"The folder of the run (--output) is a file: {output_dir}")
    copy = output_dir / "recipe.toml"
    finished = not (output_dir / "checkpoints").exists() and any((output_dir / name).exists() for name in ("card.json", RECORD))
    if finished and not restart:
        raise RecipeError(f"{output_dir} holds a finished run. Start over (--restart), or choose another folder (--output).")
    if copy.exists() and copy.read_text() != recipe.to_toml() and not restart:
        there = Recipe.read(copy.parent / copy.name)
        if there.sections != recipe.sections:
            raise RecipeError(
                f"{copy} is another recipe than the one given. Start over (--restart), or choose another folder (--output)."
            )


def prepare_folder(recipe, output_dir, restart):
    """Leaves recipe.toml in the folder, and no state of an earlier run with `restart`. Called when data and model are there: a
    start that failed leaves nothing behind."""
    copy, text = output_dir / "recipe.toml", recipe.to_toml()
    if restart:
        Checkpoints(output_dir / "checkpoints").remove()
    output_dir.mkdir(parents=True, exist_ok=True)
    if not copy.exists() or copy.read_text() != text:
        write_text(copy, text)


def count_weights(model):
    """How many numbers training changes."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def build_optimizer(training, steps_per_epoch):
    """The Keras optimizer of a recipe's [training]."""
    rate = training["learning_rate"]
    warmup, steps = (round(training[key] * steps_per_epoch) for key in ("warmup_epochs", "epochs"))
    if training["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, max(1, steps - warmup), warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    elif warmup:
        rate = keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    config = {"learning_rate": rate, "clipnorm": training["clipnorm"]}
    if training["weight_decay"]:
        config["weight_decay"] = training["weight_decay"]
    if training["epsilon"]:
        if training["optimizer"] in ("sgd", "lion"):
            raise RecipeError(f"[training]: {training['optimizer']} has no epsilon. Received: epsilon={training['epsilon']}")
        config["epsilon"] = training["epsilon"]
    if training["accumulate_steps"]:
        config["gradient_accumulation_steps"] = training["accumulate_steps"]
    if training["ema_momentum"]:
        config.update(use_ema=True, ema_momentum=training["ema_momentum"])
    classes = {cls.__name__.lower(): cls for cls in vars(keras.optimizers).values() if inspect.isclass(cls)}
    return classes[training["optimizer"]](**config)


def compile_options(training):
    """The arguments of `compile` in a recipe's [training], beside the optimizer."""
    jit = {} if training["xla"] is None else {"jit_compile": training["xla"]}
    return {**jit, "steps_per_execution": training["steps_per_execution"]}


def restore(checkpoints, model, epochs, steps, report):
    """Sets model and checkpoints to the state there is, and says so. Returns whether there was one."""
    try:
        if checkpoints.restore(model):
            within = f" and {checkpoints.steps} of {steps} steps" if checkpoints.steps else ""
            report(f"Going on after epoch {checkpoints.epochs} of {epochs}{within}.")
            return True
        return False
    except CheckpointError as error:
        raise CheckpointError(f"{error} Start over (--restart), or choose another folder (--output).") from None


def averaging(training):
    """The callbacks that put averaged weights into validation. They come after `Checkpoints`, which then sees those weights when
    the validation ends."""
    return [keras.callbacks.SwapEMAWeights()] if training["ema_momentum"] else []


def fit(model, checkpoints, epochs, steps, train_from, *, verbose, **options):
    """`model.fit` from the state of the checkpoints to the last epoch.

    `train_from(first, last, done)` gives the batches of the epochs first..last-1 without the first `done`.
    """
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    while not checkpoints.stopped and checkpoints.epochs < epochs:
        done = checkpoints.steps
        last = checkpoints.epochs + 1 if done else epochs  # First the rest of an interrupted epoch.
        model.fit(
            train_from(checkpoints.epochs, last, done),
            initial_epoch=checkpoints.epochs,
            epochs=last,
            steps_per_epoch=steps - done,
            shuffle=False,
            verbose=verbose,
            **options,
        )
        if done:
            checkpoints.set_last_state(model)


@contextlib.contextmanager
def stopped(checkpoints, after=None):
    """Inside, the state is saved after the step in progress and `Preempted` is raised on SIGTERM, and when `after` seconds are
    over."""
    timer = threading.Timer(after or 0, checkpoints.stop)
    timer.daemon = True
    if after is not None:
        timer.start()
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: checkpoints.stop()) if main else None
    try:
        yield
    finally:
        timer.cancel()
        if main:
            signal.signal(signal.SIGTERM, before)


def make_record(recipe, checkpoints, sha256):
    """What is known of a run when training ends, beside its weights: plain values."""
    backend = keras.backend.backend()
    return {
        "recipe": identity(recipe),
        "sha256": sha256,
        "epochs": checkpoints.epochs,
        "best_epoch": checkpoints.best_epoch,
        "best_loss": checkpoints.best_loss,
        "seconds": checkpoints.seconds,
        "history": checkpoints.history,
        "backend": backend,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "accelerators": _accelerators(backend),
        },
        "versions": {
            "tfdgm": tfdgm.__version__,
            "python": platform.python_version(),
            backend: sys.modules[backend].__version__,
            "keras": keras.__version__,
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write_text(path, text):
    """Written aside first."""
    with written_aside(path) as file:
        file.write(text.encode())


def report_emulation(precision, report):
    """Says so where training computes in a precision that the processor has no arithmetic for, and there is no accelerator."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    if precision not in _ARITHMETIC or flags is None or _ARITHMETIC[precision] & set(flags.split()):
        return
    if not _accelerators(keras.backend.backend()):
        report(f"This processor emulates {precision}, for which it has no arithmetic: try --precision float32, likely faster.")


def _cpu():
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key, path="/proc/cpuinfo"):
    """The first processor's value of a key, None where Linux has none."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)


def _accelerators(backend):
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return names + [tpu.name for tpu in tf.config.list_logical_devices("TPU")]

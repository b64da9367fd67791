import inspect

import keras

from tfdgm.zoo.recipe import RecipeError


def compile_model(model, training, steps_per_epoch):
    """`model.compile` as a recipe's [training] says."""
    jit = {} if training["xla"] is None else {"jit_compile": training["xla"]}
    optimizer = build_optimizer(training, steps_per_epoch)
    model.compile(optimizer=optimizer, steps_per_execution=training["steps_per_execution"], **jit)


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
    config["gradient_accumulation_steps"] = training["accumulate_steps"]
    if training["weight_decay"]:
        config["weight_decay"] = training["weight_decay"]
    if training["epsilon"]:
        if training["optimizer"] in ("sgd", "lion"):
            raise RecipeError(f"[training]: {training['optimizer']} has no epsilon. Received: epsilon={training['epsilon']}")
        config["epsilon"] = training["epsilon"]
    if training["ema_momentum"]:
        config.update(use_ema=True, ema_momentum=training["ema_momentum"])
    classes = {cls.__name__.lower(): cls for cls in vars(keras.optimizers).values() if inspect.isclass(cls)}
    return classes[training["optimizer"]](**config)

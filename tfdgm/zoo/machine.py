"""The machine that a run trains on, under whichever backend of Keras."""

import os
import pathlib
import platform

import keras

#: Names in /proc/cpuinfo of arithmetic in half precision.
_ARITHMETIC = {
    "mixed_bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "mixed_float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}


def describe():
    """What a card says of this machine: plain values."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerators": _accelerators(),
    }


def report_emulation(precision, report):
    """Says so where training computes in a precision that the processor has no arithmetic for, and there is no accelerator."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    if precision not in _ARITHMETIC or flags is None or _ARITHMETIC[precision] & set(flags.split()):
        return
    if not _accelerators():
        report(f"This processor emulates {precision}, for which it has no arithmetic: try --precision float32, likely faster.")


def _cpuinfo(key, path="/proc/cpuinfo"):
    """The first processor's value of a key, None where Linux has none."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)


def _accelerators():
    backend = keras.backend.backend()
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

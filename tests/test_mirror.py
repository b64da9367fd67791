"""Every class has a test file of its own, named after its module."""

import inspect
import pathlib

import keras
import pytest

import tfdgm

TESTS = pathlib.Path(__file__).parent
#: What the classes of a package are.
BASES = {
    "bijectors": tfdgm.bijectors.Bijector,
    "distributions": tfdgm.distributions.Distribution,
    "elementwise": tfdgm.elementwise.Elementwise,
    "families": tfdgm.families.Family,
    "models": tfdgm.DensityModel,
    "networks": keras.layers.Layer,
}
ABSTRACT = (*BASES.values(), tfdgm.networks.AutoregressiveNetwork, tfdgm.networks.ImageNetwork)


def classes():
    for package, base in BASES.items():
        module = getattr(tfdgm, package)
        for value in (getattr(module, name) for name in module.__all__):
            if inspect.isclass(value) and issubclass(value, base) and value not in ABSTRACT:
                yield pytest.param(package, value, id=f"{package}.{value.__name__}")


@pytest.mark.parametrize(("package", "cls"), list(classes()))
def test_every_class_has_a_test_file(package, cls):
    stem = cls.__module__.rsplit(".", 1)[-1]
    text = (TESTS / package / f"test_{stem}.py").read_text()
    assert "Contract)" in text or cls in (
        tfdgm.networks.AutoregressiveLikelihood,
        tfdgm.networks.DenseNetwork,
        tfdgm.networks.ColourCoupling,
    )  # No autoregressive networks of their own.

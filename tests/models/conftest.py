import pytest


@pytest.fixture
def adapted():
    """A function from a case to its model, with random weights and what is set from data: as if trained, in less time."""

    def adapt(case):
        model = case.make(seed=1)
        model.adapt(case.x, case.condition)
        return model

    return adapt


@pytest.fixture
def trained():
    """A function from a case to its model, trained for a few steps."""

    def train(case, optimizer="adam"):
        model = case.make(seed=1)
        model.compile(optimizer)
        model.fit(case.x, case.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)
        return model

    return train

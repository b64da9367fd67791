import pytest


@pytest.fixture
def trained():
    """A function from a case to its model, trained for a few steps."""

    def train(case, optimizer="adam", **changes):
        model = case.make(seed=1, **changes)
        model.compile(optimizer)
        model.fit(case.x, case.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)
        return model

    return train

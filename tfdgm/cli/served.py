from tfdgm.cli.usage import UsageError


def connect(url, name):
    """A client of the model `name` at `url`: with log_prob, sample, event_shape and condition_shape, it stands in for a model."""
    from tfdgm.serving import Client

    try:
        return Client(url, name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"--server: {error}") from None

import contextlib
import math

from tfdgm.cli.inputs import load_model
from tfdgm.cli.usage import UsageError


def model_at(server, name, rows):
    """A context of the model `name`: as it is loaded here, or as a client of it at the URL `server`, whose connections then end.

    A client has log_prob, sample, event_shape, condition_shape and column_names as a model. It waits a minute for each request
    that `rows` rows take.
    """
    if not server:
        return contextlib.nullcontext(load_model(name))
    from tfdgm.serving import Client

    try:
        return Client(server, name, timeout=60 * math.ceil(rows / 128))
    except (ImportError, ValueError) as error:
        raise UsageError(f"--server: {error}") from None

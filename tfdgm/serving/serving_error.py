class ServingError(OSError):
    """A request that the server refused, did not answer in time, or answered with what is no answer. `code` is gRPC's word for
    why: "INVALID_ARGUMENT", "UNAVAILABLE", "DATA_LOSS", ..."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

"""`tfdgm` commands in processes of their own, each forked from one that has imported everything and computed nothing: an import
takes longer than most of what is tested."""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["forked", "tfdgm.models", "tfdgm.cli.train", "tfdgm.zoo.tensorflow_trainer"])

gc.freeze()  # As in conftest.py; what is frozen, the children share.
gc.set_threshold(50_000, 20, 100)


class Command:
    """A running `tfdgm` command; `output` is the file that its standard output and errors go to."""

    def __init__(self, argv, output, environ=()):
        self.output = output
        self.output.unlink(missing_ok=True)  # What an earlier process said is not this one's.
        self.process = _context.Process(target=_run, args=([str(a) for a in argv], str(output), dict(environ)))
        self.process.start()

    def said(self):
        return self.output.read_text() if self.output.exists() else ""

    def is_alive(self):
        return self.process.is_alive()

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, timeout=None):
        """The exit status, minus the signal's number where one ended it."""
        self.process.join(timeout)
        return self.process.exitcode


def _run(argv, output, environ):
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from tfdgm.cli.main import main

    code = 70
    try:
        code = main(argv)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

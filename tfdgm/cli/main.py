"""Finds the command, parses its flags, and turns every user error into one line on stderr."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import warnings

from absl import flags

from tfdgm.cli.usage import UsageError, command_help, general_help
from tfdgm.printable import printable
from tfdgm.unknown_name import unknown_name

#: In the order of `tfdgm --help`. Each is a module of tfdgm.cli with a docstring (its help), FLAGS and run(arguments).
COMMANDS = ("train", "evaluate", "sample", "complete", "score", "verify", "export", "zoo")
_HELP = ("--help", "-help", "-h", "help")


def main(argv=None):
    """Runs one command. Returns the exit code: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C, 143 for SIGTERM."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        with _clearing_up(), warnings.catch_warnings():
            warnings.showwarning = _warn
            code = _run(argv)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        resumes = " The run can be resumed: the same command goes on after the last whole epoch." if argv[0] == "train" else ""
        print(f"\ntfdgm: interrupted.{resumes}", file=sys.stderr)
        return 130
    except _Ended as ended:
        print(f"\ntfdgm: ended by {signal.Signals(ended.code - 128).name}.", file=sys.stderr)
        return ended.code
    except BrokenPipeError:
        # The reader of our output is gone (`tfdgm zoo | head`). Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("TFDGM_TRACEBACK") or not _is_users(error):
            raise
        return _fail(error, 1)


def _run(argv):
    if not argv or argv[0] in _HELP:
        print(general_help({name: _command(name).__doc__ for name in COMMANDS}))
        return 0
    if argv[0] == "--version":
        import tfdgm

        print(f"tfdgm {tfdgm.__version__}")
        return 0
    name, *arguments = argv
    if name not in COMMANDS:
        what = "flag" if name.startswith("-") else "command"
        raise UsageError(f"{unknown_name(what, name, COMMANDS)} See `tfdgm --help`.")
    command = _command(name)
    if any(argument in _HELP[:3] for argument in arguments):
        print(command_help(name, command.__doc__, command.FLAGS))
        return 0
    command.FLAGS.unparse_flags()
    command.FLAGS.set_gnu_getopt(True)  # Flags and arguments in any order.
    for flag in command.FLAGS:
        command.FLAGS[flag].unparse()
    try:
        positional = command.FLAGS([name, *(_spelled(argument, command.FLAGS) for argument in arguments)])[1:]
    except flags.Error as error:
        raise UsageError(f"{error} See `tfdgm {name} --help`.") from None
    return command.run(positional) or 0


def _spelled(argument, known):
    """--no_header as --noheader, which is absl's spelling."""
    flag = argument.removeprefix("--no_")
    return f"--no{flag}" if flag != argument and flag in known and known[flag].boolean else argument


class _Ended(SystemExit):
    """By a signal."""


def _end(number, _):
    raise _Ended(128 + number)


@contextlib.contextmanager
def _clearing_up():
    """Inside, SIGTERM and SIGHUP raise a SystemExit, so that what was being written aside is removed."""
    numbers = [signal.SIGTERM, signal.SIGHUP] if threading.current_thread() is threading.main_thread() else []
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _command(name):
    return importlib.import_module(f"tfdgm.cli.{name}")


def _is_users(error):
    """Whether the message alone tells what to do: the library's own errors, files and memory."""
    if isinstance(error, (ValueError, OSError, FloatingPointError, MemoryError)):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def _warn(message, *_):
    print(f"tfdgm: warning: {_one_line(message)}", file=sys.stderr)


def _fail(error, code):
    message = _one_line(error) or type(error).__name__
    print(f"tfdgm: error: {message}", file=sys.stderr)
    return code


def _one_line(message):
    """What a stranger's files say, such as their names, does not steer the terminal."""
    return printable(" ".join(str(message).split()))

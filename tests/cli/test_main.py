import importlib
import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from tfdgm.cli import main as main_module
from tfdgm.cli.main import COMMANDS
from tfdgm.written_aside import written_aside

PYTHON = [sys.executable, "-m", "tfdgm"]


class TestHelp:
    @pytest.mark.parametrize("argv", [[], ["--help"], ["help"], ["-h"]])
    def test_every_command_has_a_line(self, cli, argv):
        result = cli(*argv)
        assert result.code == 0 and not result.err
        for command in COMMANDS:
            line = next(line for line in result.out.splitlines() if line.startswith(f"  {command} "))
            assert len(line.split()) > 4 and len(line) < 130

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_shows_usage_examples_and_every_flag(self, cli, command):
        result = cli(command, "--help")
        assert result.code == 0 and f"Usage: tfdgm {command}" in result.out and "Examples:" in result.out
        for flag in importlib.import_module(f"tfdgm.cli.{command}").FLAGS:
            assert f"\n  --{flag}" in result.out
        assert max(map(len, result.out.splitlines())) < 131

    def test_defaults_are_shown(self, cli):
        assert "How many. Default: 64." in cli("sample", "--help").out

    def test_absls_own_flags_stay_out(self, cli):
        out = cli("train", "--help").out
        assert "flagfile" not in out and "verbosity" not in out and "repeat this option" not in out

    def test_version(self, cli):
        import tfdgm

        assert cli("--version").out == f"tfdgm {tfdgm.__version__}\n"

    @pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["zoo"], ["nonsense"]])
    def test_needs_no_tensorflow(self, argv):
        code = f"""
import sys
from tfdgm.cli.main import main
main({argv!r})
assert not {{"tensorflow", "keras", "matplotlib", "sklearn"}} & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestUsage:
    def test_unknown_command(self, fails):
        assert "no command 'trian'. Did you mean 'train'" in fails("trian", code=2)

    def test_unknown_flag_before_the_command(self, fails):
        assert "no flag '--data'" in fails("--data", "digits", code=2)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_unknown_flag(self, fails, command):
        line = fails(command, "--no_such_flag=3", code=2)
        assert "no_such_flag" in line and f"tfdgm {command} --help" in line

    def test_a_mistyped_flag_suggests_the_nearest(self, fails):
        assert "Did you mean: epochs" in fails("train", "--epoch=3", code=2)

    @pytest.mark.parametrize(
        "argv,message",
        [
            (["train"], "Expected a RECIPE, or --model and --data"),
            (["train", "a", "b"], "Expected one RECIPE"),
            (["train", "--epochs=many"], "epochs"),
            (["train", "--model=MAF", "--data=digits", "--set", "epochs"], "--set expects section.key=value"),
            (["evaluate"], "Expected MODEL. Received: nothing"),
            (["sample"], "Expected MODEL"),
            (["sample", "m", "--out=a.txt"], "ends in .png, .csv or .npy. Received: a.txt"),
            (["sample", "m"], "Received: nothing"),
            (["sample", "m", "--num=0"], "num"),
            (["score", "m"], "Expected MODEL INPUT. Received: m"),
            (["score", "m", "x", "--out=a.png"], "ends in .csv or .npy"),
            (["verify", "a", "b"], "Expected MODEL. Received: a b"),
            (["export", "m"], "Expected MODEL DIR"),
            (["zoo", "a", "b"], "Expected NAME"),
            (["evaluate", "m", "--split=tets"], "split"),
        ],
    )
    def test_what_was_expected_and_what_came(self, fails, argv, message):
        assert message in fails(*argv, code=2)

    def test_flags_do_not_stay_from_one_call_to_the_next(self, cli, monkeypatch):
        from tfdgm.cli import zoo

        seen = []
        monkeypatch.setattr(main_module.importlib, "import_module", lambda name: zoo)
        monkeypatch.setattr(zoo, "run", seen.append)
        cli("zoo", "a")
        cli("zoo")
        assert seen == [["a"], []]


class TestEnds:
    @pytest.fixture
    def raising(self, monkeypatch):
        def use(error):
            from tfdgm.cli import train

            monkeypatch.setattr(train, "run", lambda arguments: (_ for _ in ()).throw(error))

        return use

    @pytest.mark.parametrize(
        "error,message",
        [
            (ValueError("two\n  lines"), "two lines"),
            (OSError(28, "No space left on device", "a/b"), "No space left on device: 'a/b'"),
            (FloatingPointError("ten steps in a row"), "ten steps in a row"),
            (MemoryError(), "MemoryError"),
        ],
    )
    def test_errors_are_one_line(self, fails, raising, error, message):
        raising(error)
        assert message in fails("train", "x")

    def test_the_whole_traceback_on_demand(self, cli, raising, monkeypatch):
        raising(ValueError("why"))
        monkeypatch.setenv("TFDGM_TRACEBACK", "1")
        with pytest.raises(ValueError, match="why"):
            cli("train", "x")

    def test_our_own_mistakes_are_not_hidden(self, cli, raising):
        raising(AttributeError("a bug"))
        with pytest.raises(AttributeError):
            cli("train", "x")

    def test_ctrl_c(self, cli, raising):
        raising(KeyboardInterrupt())
        result = cli("train", "x")
        assert result.code == 130 and "can be resumed" in result.err and "Traceback" not in result.err

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_clears_up(self, cli, monkeypatch, tmp_path, number):
        from tfdgm.cli import train

        def write(arguments):
            with written_aside(tmp_path / "new" / "file"):
                os.kill(os.getpid(), number)
                time.sleep(10)

        monkeypatch.setattr(train, "run", write)
        before = signal.getsignal(number)
        signal.signal(number, signal.SIG_DFL)
        try:
            result = cli("train", "x")
            assert signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)
        assert result.code == 128 + number and result.err == f"\ntfdgm: ended by {number.name}.\n"
        assert not list(tmp_path.iterdir())

    def test_a_reader_that_goes_away(self):
        process = subprocess.Popen([*PYTHON, "train", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0

    @pytest.mark.slow
    def test_ctrl_c_in_a_training_says_how_to_go_on(self, tmp_path):
        argv = ["train", "--model", "MADE", "--data", "digits", "--set", "model.hidden_units=[4]", "--set", "training.xla=false"]
        process = subprocess.Popen(
            [*PYTHON, *argv, "--epochs", "100000", "--output", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background, a child inherits that SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        epochs = (line for line in process.stdout if line.startswith("Epoch "))
        # Python drops an interrupt that comes while an object is being finalized: where a hundred epochs follow, a person presses
        # the keys again. (One that comes while it ends would end it otherwise.)
        for further in (3, 100, 100, 100):
            if len(list(itertools.islice(epochs, further))) < further:
                break
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and err.strip() == (
            "tfdgm: interrupted. The run can be resumed: the same command goes on after the last whole epoch."
        )
        assert sorted(os.listdir(tmp_path)) == ["checkpoints", "recipe.toml"]

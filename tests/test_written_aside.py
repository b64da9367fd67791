import multiprocessing
import os
import signal
import threading

import pytest

from tfdgm.written_aside import BusyError, aside_of, locked, written_aside

fork = multiprocessing.get_context("fork")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, content=b"new", **options):
    with written_aside(path, **options) as file:
        file.write(content)


def hold(path, ready):
    with locked(path):
        ready.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path):
    """Another process that is writing tmp_path/a."""
    ready = fork.Event()
    process = fork.Process(target=hold, args=(tmp_path / "a", ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


class TestWrittenAside:
    def test_whole_or_not_at_all(self, tmp_path):
        (tmp_path / "a").write_bytes(b"old")
        for error in (KeyboardInterrupt, SystemExit, OSError):
            with pytest.raises(error), written_aside(tmp_path / "a") as file:
                file.write(b"half")
                raise error
            assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]
        write(tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"new" and names(tmp_path) == ["a"]

    def test_without_overwrite(self, tmp_path):
        write(tmp_path / "a", b"first", overwrite=False)
        with pytest.raises(FileExistsError, match="a exists already: choose another name, or --overwrite"):
            write(tmp_path / "a", overwrite=False)
        with pytest.raises(FileExistsError, match="b exists already"), written_aside(tmp_path / "b", overwrite=False):
            (tmp_path / "b").write_bytes(b"somebody's")  # Meanwhile.
        assert (tmp_path / "a").read_bytes() == b"first" and (tmp_path / "b").read_bytes() == b"somebody's"
        assert names(tmp_path) == ["a", "b"]

    def test_without_hard_links(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        write(tmp_path / "a", b"first", overwrite=False)
        with pytest.raises(FileExistsError), written_aside(tmp_path / "b", overwrite=False):
            (tmp_path / "b").write_bytes(b"somebody's")
        assert (tmp_path / "a").read_bytes() == b"first" and (tmp_path / "b").read_bytes() == b"somebody's"

    def test_links_that_others_have_planted_are_not_followed(self, tmp_path):
        folder = tmp_path / "out"
        folder.mkdir()
        (tmp_path / "dear").write_bytes(b"dear")
        for name in (".a.new", ".a.old", f".a.{'0' * 32}.new", "a"):
            (folder / name).symlink_to(tmp_path / "dear")
        write(folder / "a")
        assert (tmp_path / "dear").read_bytes() == b"dear" and (folder / "a").read_bytes() == b"new"
        assert not (folder / "a").is_symlink() and names(folder) == [".a.new", ".a.old", "a"]
        (folder / ".a.lock").symlink_to(tmp_path / "dear")
        with pytest.raises(OSError, match="symbolic link"):
            write(folder / "a", b"newer")
        assert (tmp_path / "dear").read_bytes() == b"dear" and (folder / "a").read_bytes() == b"new"

    def test_what_a_kill_left_goes_and_nothing_else(self, tmp_path):
        for name in (f".a.{'0' * 32}.new", f".ab.{'0' * 32}.new", ".a.mine.new", ".a.new"):
            (tmp_path / name).write_bytes(b"")
        write(tmp_path / "a")
        assert names(tmp_path) == sorted([".a.mine.new", ".a.new", f".ab.{'0' * 32}.new", "a"])

    def test_the_umask_counts(self, tmp_path):
        before = os.umask(0o027)
        try:
            write(tmp_path / "a")
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("name", ["[1]*?.csv", "ü\n\x1b[31m", " ", "a" * 200])
    def test_odd_names(self, tmp_path, name):
        write(tmp_path / name, b"first", overwrite=False)
        write(tmp_path / name)
        assert names(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"new"

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(IsADirectoryError, match="Expected a file to write"):
            write(tmp_path)


class TestLocked:
    def test_the_second_is_told_who_writes(self, tmp_path, holder):
        for enter in (locked, written_aside):
            with pytest.raises(BusyError, match=f"a is being written by process {holder.pid} on "), enter(tmp_path / "a"):
                pytest.fail("two at once")
        write(tmp_path / "b")  # Another name is free.
        holder.kill()
        holder.join()
        write(tmp_path / "a")  # The lock falls with its process.
        assert names(tmp_path) == ["a", "b"]

    def test_one_at_a_time(self, tmp_path):
        """Eight threads that try again and again."""
        inside, most, done = [0], [0], []

        def run():
            for _ in range(20):
                try:
                    with locked(tmp_path / "a"):
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                        done.append(1)
                        inside[0] -= 1
                except BusyError:
                    pass

        threads = [threading.Thread(target=run) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert most[0] == 1 and len(done) > 20 and names(tmp_path) == []

    def test_folders_that_were_made_go_unless_something_is_in_them(self, tmp_path):
        with pytest.raises(OSError), locked(tmp_path / "x" / "y" / "a"):
            raise OSError
        assert names(tmp_path) == []
        write(tmp_path / "x" / "y" / "a")
        assert (tmp_path / "x" / "y" / "a").read_bytes() == b"new"

    def test_a_name_aside_may_be_a_folder(self, tmp_path):
        with locked(tmp_path / "1"):
            (tmp_path / f".1.{'f' * 32}.new").mkdir()
            with aside_of(tmp_path / "1") as aside:
                aside.mkdir()
                (aside / "file").write_bytes(b"")
                assert len(names(tmp_path)) == 2
        assert names(tmp_path) == []

import numpy as np
import PIL.Image
import pytest

from tfdgm import data
from tfdgm.data import csv_files

X = np.random.RandomState(0).randn(40, 3).astype(np.float32)


def in_order(source, **arguments):
    splits = data.load(source, shuffle=False, valid_fraction=0.0, test_fraction=0.0, **arguments)
    return np.concatenate([x.numpy() for x in splits.train]), splits


def write_csv(path, x, header=""):
    np.savetxt(path, x, delimiter=",", fmt="%.9g", header=header, comments="")


def write_parquet(path, x, names="abc"):
    import pyarrow.parquet

    columns = {n: x[:, i] for i, n in enumerate(names)}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=16)


@pytest.fixture
def refused(tmp_path):
    """A function: loading and streaming this text as a csv both fail with this message."""

    def check(text, message, **arguments):
        path = tmp_path / "bad.csv"
        path.write_text(text)
        with pytest.raises(data.DataError, match=message):
            data.load(path, **arguments)
        with pytest.raises(data.DataError, match=message):
            list(data.stream(path, 10, **arguments))

    return check


class TestCsv:
    @pytest.mark.parametrize("header", ["", "a,b,c", "b, b,c"])
    def test_rows(self, tmp_path, header):
        write_csv(tmp_path / "a.csv", X, header)
        x, splits = in_order(tmp_path / "a.csv")
        np.testing.assert_array_equal(x, X)
        assert (splits.dtype, splits.event_shape) == ("float32", (3,))

    def test_spaces_quotes_blank_lines_and_windows(self, tmp_path):
        (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf\r\n"a","b"\r\n 1 , 2\r\n\r\n"3",+4e0\r\n')
        np.testing.assert_array_equal(in_order(tmp_path / "a.csv")[0], [[1, 2], [3, 4]])

    def test_levels(self, tmp_path):
        (tmp_path / "a.csv").write_text("0,1\n1,1\n")
        x, splits = in_order(tmp_path / "a.csv", levels=2)
        assert (x.dtype, splits.levels) == (np.int32, 2)

    def test_condition_column(self, tmp_path):
        write_csv(tmp_path / "a.csv", X, "a,b,c")
        splits = data.load(tmp_path / "a.csv", condition="b", shuffle=False)
        x, c = next(iter(splits.train))
        assert (splits.event_shape, splits.condition_shape) == ((2,), (1,))
        table = np.concatenate([x[:, :1], c, x[:, 1:]], axis=1)
        assert all(row in X.tolist() for row in table.tolist())
        with pytest.raises(data.DataError, match=r"no column 'd'.*It has: a, b, c"):
            data.load(tmp_path / "a.csv", condition="d")

    def test_text(self, refused):
        refused("a,b\n1,2\n3,four\n", r"bad.csv, line 3, column 2 \(b\): expected a number.*'four'")

    def test_text_in_the_first_line(self, refused):
        refused("1,x\n1,2\n", "line 1, column 2: 'x' is not a number")

    def test_empty_cell(self, refused):
        refused("1,2\n\n3,\n", "line 3, column 2: .*an empty cell")

    def test_ragged(self, refused):
        refused("1,2\n3,4\n5\n", "line 3: expected 2 columns.*Received: 1")
        refused("1,2\n3,4,5\n", "line 2: expected 2 columns.*Received: 3")

    @pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e300", "-4e38"])
    def test_not_finite(self, refused, value):
        refused(f"a\n1\n{value}\n", r"line 3, column 1 \(a\): .* (is not finite|outside float32's range)")

    def test_not_finite_in_the_first_line(self, refused):
        refused("nan,1\n2,3\n", "line 1, column 1: nan is not finite")

    @pytest.mark.parametrize("value", ["2", "-1", "0.5"])
    def test_outside_levels(self, refused, value):
        refused(f"0,1\n0,{value}\n", r"line 2, column 2: .* is not one of the integers 0\.\.1", levels=2)

    def test_deep_in_the_file(self, refused, monkeypatch):
        monkeypatch.setattr("tfdgm.data.csv_files._BLOCK_BYTES", 256)
        refused("1,2\n" * 1000 + "1;2\n", "line 1001: expected 2 columns")

    def test_empty(self, refused):
        refused("", "bad.csv is empty")
        refused("\n\n", "bad.csv is empty")
        refused("a,b\n", "has a header but no rows")

    def test_binary(self, tmp_path):
        (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 10)
        with pytest.raises(data.DataError, match=r"a\.csv"):
            data.load(tmp_path / "a.csv")
        (tmp_path / "a.csv").write_bytes(b"\0" * 1_000_000)
        with pytest.raises(data.DataError, match=r"a\.csv, line 1"):
            data.load(tmp_path / "a.csv")

    def test_other_columns_in_another_file(self, tmp_path):
        write_csv(tmp_path / "1.csv", X, "a,b,c")
        write_csv(tmp_path / "2.csv", X[:, :2], "a,b")
        with pytest.raises(data.DataError, match=r"2\.csv: expected 3 columns as in .*1\.csv. Received: 2"):
            data.load(tmp_path / "*.csv")
        write_csv(tmp_path / "2.csv", X, "a,c,b")
        with pytest.raises(data.DataError, match=r"2\.csv: expected column 2 to be 'b'.*Received: 'c'"):
            list(data.stream(tmp_path, 10))


class TestColumns:
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_names_without_the_condition(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        write_csv(path, X, "a,b,c") if suffix == "csv" else write_parquet(path, X)
        assert data.load(path).columns == ("a", "b", "c")
        assert data.load(path, condition="b").columns == ("a", "c")
        assert data.load(path, condition=["c", "a"]).columns == ("b",)

    def test_no_names(self, tmp_path):
        write_csv(tmp_path / "a.csv", X)
        np.save(tmp_path / "a.npy", X)
        for name in ("a.csv", "a.npy"):
            assert data.load(tmp_path / name).columns is None
            data.check_columns(tmp_path / name, ["b", "a", "c"])
        data.check_columns("digits", ["b", "a", "c"])

    def test_names_at_other_places_are_refused(self, tmp_path):
        write_csv(tmp_path / "a.csv", X, "a,b,c")
        data.check_columns(tmp_path / "a.csv", ["a", "b", "c"])
        data.check_columns(tmp_path / "a.csv", ["a", "x", "y"])  # Other names of b and c, for all that is known.
        data.check_columns(tmp_path / "a.csv", ["b", "c"], condition="a")
        message = r"a\.csv: expected column 1 to be 'b', as in training. Received: 'a'; 'b' is column 2\."
        for expected in (["b", "a", "c"], ["b", "c"]):
            with pytest.raises(data.DataError, match=message):
                data.check_columns(tmp_path / "a.csv", expected)

    def test_splits_of_a_folder_have_the_same(self, tmp_path):
        write_csv(tmp_path / "train.csv", X, "a,b,c")
        write_csv(tmp_path / "test.csv", X, "b,a,c")
        with pytest.raises(data.DataError, match=r"expected column 1 to be 'a' as in .*train\.csv\. Received: 'b'"):
            data.load(tmp_path)

    def test_a_header_that_is_read_again(self, tmp_path):
        path, names = tmp_path / "a.csv", ["a b", 'say "x"', "c,d"]
        path.write_bytes(csv_files.header(names) + b"1,2,3\n")
        assert csv_files.columns(path) == (names, 3)
        assert csv_files.header(["0", "a"]) == csv_files.header(None) == b""


class TestParquet:
    def test_rows(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", X)
        np.testing.assert_array_equal(in_order(tmp_path / "a.parquet")[0], X)
        np.testing.assert_array_equal(np.concatenate(list(data.stream(tmp_path / "a.parquet", 7))), X)

    def test_condition_columns(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", X)
        splits = data.load(tmp_path / "a.parquet", condition=["c", "a"])
        assert (splits.event_shape, splits.condition_shape) == ((1,), (2,))

    def test_integers_are_real_unless_levels_are_given(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", np.arange(12).reshape(4, 3))
        assert data.load(tmp_path / "a.parquet").dtype == "float32"
        assert data.load(tmp_path / "a.parquet", levels=12).dtype == "int32"
        with pytest.raises(data.DataError, match=r"row 3, column 1 .*10 is not one of the integers"):
            data.load(tmp_path / "a.parquet", levels=10)

    def test_null(self, tmp_path):
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "b": [1.0, None]}), tmp_path / "a.parquet")
        with pytest.raises(data.DataError, match=r"row 1, column 1 .*not finite"):
            data.load(tmp_path / "a.parquet")

    def test_text_column(self, tmp_path):
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"a": [1.0], "b": ["x"]}), tmp_path / "a.parquet")
        with pytest.raises(data.DataError, match=r"column 'b': expected numbers. Received: string"):
            data.load(tmp_path / "a.parquet")

    def test_damaged(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", X)
        whole = (tmp_path / "a.parquet").read_bytes()
        (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(data.DataError, match=r"a.parquet is damaged"):
            data.load(tmp_path / "a.parquet")


class TestNumpy:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_real(self, tmp_path, dtype):
        np.save(tmp_path / "a.npy", X.astype(dtype))
        x, splits = in_order(tmp_path / "a.npy")
        assert (splits.dtype, splits.levels) == ("float32", None)
        np.testing.assert_array_equal(x, X.astype(dtype).astype(np.float32))

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int32", "int64", "uint64"])
    def test_integers(self, tmp_path, dtype):
        given = (np.arange(24) % 2 if dtype == "bool" else np.arange(24)).astype(dtype).reshape(3, 4, 2)
        np.save(tmp_path / "a.npy", given)
        x, splits = in_order(tmp_path / "a.npy")
        assert (splits.dtype, splits.levels) == ("int32", 2 if dtype == "bool" else 24)
        assert splits.event_shape == (4, 2)
        np.testing.assert_array_equal(x, given)

    def test_vector_is_one_column(self, tmp_path):
        np.save(tmp_path / "a.npy", X[:, 0])
        assert data.load(tmp_path / "a.npy").event_shape == (1,)

    def test_glob(self, tmp_path):
        np.save(tmp_path / "1.npy", X[:10])
        np.save(tmp_path / "2.npy", X[10:].astype(np.float64))
        np.testing.assert_array_equal(in_order(tmp_path / "?.npy")[0], X)
        np.save(tmp_path / "2.npy", np.ones((2, 3), int))
        with pytest.raises(data.DataError, match=r"2.npy: expected rows of float32 .*1.npy. Received: int32"):
            data.load(tmp_path)

    def test_npz(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, X)
        np.testing.assert_array_equal(in_order(path)[0], X)
        np.savez_compressed(path, x=X, y=np.arange(40))
        np.testing.assert_array_equal(in_order(path)[0], X)
        splits = data.load(path, condition="y")
        assert splits.condition_shape == (1,)
        assert all(X[int(i), 0] == x for xs, c in splits.train for x, i in zip(xs[:, 0], c[:, 0], strict=True))
        with pytest.raises(data.DataError, match=r"no array 'z' for the condition. It has: x, y"):
            data.load(path, condition="z")
        np.savez(path, a=X, b=X)
        with pytest.raises(data.DataError, match=r"expected an array `x`.*Received: a, b"):
            data.load(path)

    @pytest.mark.parametrize("suffix", ["", "_data"])
    def test_npz_with_splits(self, tmp_path, suffix):
        bits = np.random.RandomState(0).randint(2, size=(30, 5)).astype(bool)
        arrays = {f"train{suffix}": bits[:20], f"valid{suffix}": bits[20:26], f"test{suffix}": bits[26:]}
        np.savez(tmp_path / "a.npz", **arrays)
        splits = data.load(tmp_path / "a.npz")
        assert (splits.num_train, splits.num_valid, splits.num_test) == (20, 6, 4)
        assert splits.levels == 2
        np.testing.assert_array_equal(next(iter(splits.test)), bits[26:])
        np.testing.assert_array_equal(next(data.stream(tmp_path / "a.npz", 99, split="test")), bits[26:])
        np.testing.assert_array_equal(next(data.stream(tmp_path / "a.npz", 99)), bits)

    def test_npz_with_two_splits(self, tmp_path):
        np.savez(tmp_path / "a.npz", train=X[:30], test=X[30:])
        splits = data.load(tmp_path / "a.npz")
        assert (splits.num_train, splits.num_valid, splits.num_test) == (27, 3, 10)
        np.testing.assert_array_equal(next(iter(splits.test)), X[30:])

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array([[1.0, 2.0], [3.0, np.nan]]), r"row 1, column 1 \(from 0\): nan is not finite"),
            (np.array([[[1.0, 2.0], [np.inf, 0.0]]]), r"row 0, column \(1, 0\) .*inf is not finite"),
            (np.array([[1e39]]), "1e[+]39 is outside float32's range"),
            (np.array([[0, -3]]), "row 0, column 1 .*-3 is negative"),
            (np.array([[2**31]]), r"integers below 2\*\*31"),
            (np.array([["a"]]), "expected numbers"),
            (np.array([[1j]]), "expected numbers"),
            (np.array(3.0), "is empty"),
            (np.ones((0, 3)), "is empty"),
        ],
    )
    def test_no_data(self, tmp_path, array, message):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(data.DataError, match=message):
            data.load(tmp_path / "a.npy")

    def test_objects_are_not_unpickled(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(data.DataError, match=r"a.npy"):
            data.load(tmp_path / "a.npy")

    def test_outside_levels(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[0, 5]]))
        with pytest.raises(data.DataError, match=r"5 is not one of the integers 0\.\.3"):
            data.load(tmp_path / "a.npy", levels=4)

    @pytest.mark.parametrize("name", ["a.npy", "a.npz"])
    @pytest.mark.parametrize("damage", ["cut", "garbage"])
    def test_damaged(self, tmp_path, name, damage):
        path = tmp_path / name
        (np.save if name == "a.npy" else np.savez)(path, X)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"garbage" * 20)
        with pytest.raises(data.DataError, match=f"{name} is damaged"):
            data.load(path)


class TestImages:
    def write(self, path, shape, seed=0):
        array = np.random.RandomState(seed).randint(256, size=shape).astype(np.uint8)
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(array).save(path)
        return array

    @pytest.mark.parametrize("suffix", [".png", ".bmp"])
    def test_grey(self, tmp_path, suffix):
        given = [self.write(tmp_path / f"{i}{suffix}", (6, 5), i) for i in range(3)]
        x, splits = in_order(tmp_path)
        assert splits.event_shape == (6, 5, 1)
        assert (splits.dtype, splits.levels) == ("int32", 256)
        np.testing.assert_array_equal(x[..., 0], given)

    def test_colour(self, tmp_path):
        given = [self.write(tmp_path / f"{i}.png", (4, 5, 3), i) for i in range(3)]
        np.testing.assert_array_equal(in_order(tmp_path)[0], given)
        (batch,) = data.stream(tmp_path, 10)
        np.testing.assert_array_equal(batch, given)
        assert batch.dtype == np.int32

    def test_jpeg(self, tmp_path):
        self.write(tmp_path / "a.jpg", (8, 8, 3))
        self.write(tmp_path / "b.JPEG", (8, 8, 3))
        assert in_order(tmp_path)[1].event_shape == (8, 8, 3)

    def test_one_image(self, tmp_path):
        self.write(tmp_path / "a.png", (8, 8))
        assert in_order(tmp_path / "a.png")[0].shape == (1, 8, 8, 1)

    def test_folders_named_as_splits(self, tmp_path):
        for i in range(5):
            self.write(tmp_path / "train" / f"{i}.png", (4, 4), i)
        test = self.write(tmp_path / "test" / "0.png", (4, 4), 9)
        splits = data.load(tmp_path)
        assert (splits.num_train, splits.num_valid, splits.num_test) == (4, 1, 1)
        np.testing.assert_array_equal(next(iter(splits.test))[0, ..., 0], test)

    @pytest.mark.parametrize("shape", [(5, 4), (4, 4, 3)])
    def test_another_size(self, tmp_path, shape):
        self.write(tmp_path / "a.png", (4, 4))
        self.write(tmp_path / "odd.png", shape)
        with pytest.raises(data.DataError, match=r"odd.png: all images must have one size, 4 x 4 grey"):
            data.load(tmp_path)

    def test_damaged(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no picture")
        with pytest.raises(data.DataError, match=r"a.png is damaged"):
            data.load(tmp_path)


class TestFind:
    def test_missing_file(self):
        with pytest.raises(data.DataError, match=r"no file absent/rows.csv"):
            data.load("absent/rows.csv")

    def test_glob_that_matches_nothing(self, tmp_path):
        with pytest.raises(data.DataError, match=r"No file matches .*\*\.csv"):
            data.load(tmp_path / "*.csv")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(data.DataError, match=r"has no data files. Expected: .csv"):
            data.load(tmp_path)

    def test_empty_file(self, tmp_path):
        (tmp_path / "a.npy").touch()
        with pytest.raises(data.DataError, match=r"a.npy is empty"):
            data.load(tmp_path / "a.npy")

    def test_other_file(self, tmp_path):
        (tmp_path / "a.txt").write_text("1")
        with pytest.raises(data.DataError, match=r"expected a file of .csv.*Received: .txt"):
            data.load(tmp_path / "a.txt")

    def test_two_kinds(self, tmp_path):
        write_csv(tmp_path / "a.csv", X)
        np.save(tmp_path / "b.npy", X)
        with pytest.raises(data.DataError, match="files of one kind"):
            data.load(tmp_path)

    def test_files_named_as_splits(self, tmp_path):
        for split, rows in (("train", X[:20]), ("valid", X[20:25]), ("test", X[25:])):
            write_csv(tmp_path / f"{split}.csv", rows)
        splits = data.load(tmp_path)
        assert (splits.num_train, splits.num_valid, splits.num_test) == (20, 5, 15)
        np.testing.assert_array_equal(next(data.stream(tmp_path, 99, split="test")), X[25:])
        write_csv(tmp_path / "test.csv", X[:, :2])
        with pytest.raises(data.DataError, match="rows of one shape"):
            data.load(tmp_path)

    def test_cache_that_cannot_be_written(self, tmp_path, monkeypatch):
        write_csv(tmp_path / "a.csv", X)
        monkeypatch.setenv("TFDGM_CACHE_DIR", str(tmp_path / "a.csv" / "below"))
        with pytest.raises(data.DataError, match="Set TFDGM_CACHE_DIR"):
            data.load(tmp_path / "a.csv")

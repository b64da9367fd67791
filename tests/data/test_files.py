import io
import tracemalloc
import zipfile

import numpy as np
import PIL.Image
import pytest

from tfdgm import data
from tfdgm.data import csv_files

X = np.random.RandomState(0).randn(40, 3).astype(np.float32)


def in_order(source, **arguments):
    splits = data.load(source, shuffle=False, valid_fraction=0.0, test_fraction=0.0, **arguments)
    return np.concatenate([batch["x"].numpy() for batch in splits.train]), splits


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
        (tmp_path / "a.csv").write_text("1,0\n1,1\n")
        x, splits = in_order(tmp_path / "a.csv", levels=2)
        assert (x.dtype, splits.levels) == (np.int32, 2)

    def test_condition_column(self, tmp_path):
        write_csv(tmp_path / "a.csv", X, "a,b,c")
        splits = data.load(tmp_path / "a.csv", condition="b", shuffle=False)
        x, c = next(iter(splits.train)).values()
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
        refused(f"a\n1\n{value}\n", r"line 3, column 1 \(a\): .* (is not finite|outside float32's range)", dtype="float32")

    def test_not_finite_in_the_first_line(self, refused):
        refused("nan,1\n2,3\n", "line 1, column 1: nan is not finite")

    @pytest.mark.parametrize("value", ["2", "-1", "0.5"])
    def test_outside_levels(self, refused, value):
        refused(f"1,0\n0,{value}\n", r"line 2, column 2: .* is not one of the integers 0\.\.1", levels=2)

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
            x, splits = in_order(tmp_path / name, columns=["b", "a", "c"])
            assert splits.columns is None
            np.testing.assert_array_equal(x, X)

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_another_order_is_put_in_order_by_name(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        write_csv(path, X, "a,b,c") if suffix == "csv" else write_parquet(path, X)
        x, splits = in_order(path, columns=["c", "a", "b"])
        np.testing.assert_array_equal(x, X[:, [2, 0, 1]])
        assert splits.columns == ("c", "a", "b")
        np.testing.assert_array_equal(next(data.stream(path, 99, dtype="float32", columns=["c", "a", "b"])), X[:, [2, 0, 1]])
        splits = data.load(path, condition="b", columns=["c", "a"], shuffle=False, valid_fraction=0.0, test_fraction=0.0)
        x, c = next(iter(splits.train)).values()
        np.testing.assert_array_equal(np.concatenate([x, c], axis=1), X[:, [2, 0, 1]])

    @pytest.mark.parametrize(
        "expected,message",
        [
            (["a", "x", "c"], r"a\.csv has no column 'x'\. Expected: a, x, c\. Received: a, b, c"),
            (["a", "b", "c", "d"], r"a\.csv has no column 'd'"),
            (["b", "a"], r"a\.csv has a column 'c', which is not expected\. Expected: b, a\. Received: a, b, c"),
        ],
    )
    def test_names_that_are_missing_or_too_many(self, tmp_path, expected, message):
        write_csv(tmp_path / "a.csv", X, "a,b,c")
        with pytest.raises(data.DataError, match=message):
            data.load(tmp_path / "a.csv", columns=expected)
        with pytest.raises(data.DataError, match=message):
            next(data.stream(tmp_path / "a.csv", 10, columns=expected))

    def test_a_name_that_stands_twice(self, tmp_path):
        write_csv(tmp_path / "a.csv", X, "b,b,c")
        np.testing.assert_array_equal(in_order(tmp_path / "a.csv", columns=["b", "b", "c"])[0], X)
        with pytest.raises(data.DataError, match="columns that share a name cannot be put in order"):
            data.load(tmp_path / "a.csv", columns=["c", "b", "b"])

    def test_other_names_altogether_stand_for_the_same_columns(self, tmp_path):
        write_csv(tmp_path / "a.csv", X, "a,b,c")
        with pytest.warns(UserWarning, match=r"other names of columns, which are taken by their places\. Expected: x, y, z"):
            x, _ = in_order(tmp_path / "a.csv", columns=["x", "y", "z"])
        np.testing.assert_array_equal(x, X)

    def test_splits_of_two_kinds_are_put_in_the_order_of_the_first(self, tmp_path):
        write_csv(tmp_path / "train.csv", X, "a,b,c")
        write_parquet(tmp_path / "test.parquet", X, "bac")
        np.testing.assert_array_equal(next(iter(data.load(tmp_path).test))["x"], X[:, [1, 0, 2]])

    def test_splits_of_a_folder_have_the_same(self, tmp_path):
        write_csv(tmp_path / "train.csv", X, "a,b,c")
        write_csv(tmp_path / "test.csv", X, "b,a,c")
        with pytest.raises(data.DataError, match=r"expected column 1 to be 'a' as in .*train\.csv\. Received: 'b'"):
            data.load(tmp_path)

    def test_a_header_that_is_read_again(self, tmp_path):
        path, names = tmp_path / "a.csv", ["a b", 'say "x"', "c,d"]
        path.write_bytes(csv_files.header(names) + b"1,2,3\n")
        assert csv_files.columns(path).names == names
        assert csv_files.header(["0", "a"]) == csv_files.header(None) == b""


class TestNumberFormat:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_reals_are_read_back_as_they_were(self, dtype):
        x = np.random.RandomState(0).randn(100).astype(dtype)
        texts = [csv_files.number_format(dtype) % v for v in x.tolist()]
        assert (np.array([float(text) for text in texts]).astype(dtype) == x).all()
        assert max(len(text) for text in texts) < (16 if dtype == "float32" else 26)

    def test_integers(self):
        assert csv_files.number_format(np.int32) % 2**31 == "2147483648"


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
        assert all(X[int(i), 0] == x for xs, c in map(dict.values, splits.train) for x, i in zip(xs[:, 0], c[:, 0], strict=True))
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
        np.testing.assert_array_equal(next(iter(splits.test))["x"], bits[26:])
        np.testing.assert_array_equal(next(data.stream(tmp_path / "a.npz", 99, split="test")), bits[26:])
        np.testing.assert_array_equal(next(data.stream(tmp_path / "a.npz", 99)), bits)

    def test_npz_with_two_splits(self, tmp_path):
        np.savez(tmp_path / "a.npz", train=X[:30], test=X[30:])
        splits = data.load(tmp_path / "a.npz")
        assert (splits.num_train, splits.num_valid, splits.num_test) == (27, 3, 10)
        np.testing.assert_array_equal(next(iter(splits.test))["x"], X[30:])

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

    @pytest.mark.parametrize("save", [np.save, np.savez])
    def test_objects_are_not_unpickled(self, tmp_path, save):
        path = tmp_path / ("a.npy" if save is np.save else "a.npz")
        save(path, np.array([{}], dtype=object), allow_pickle=True)
        for read in (data.load, lambda path: list(data.stream(path, 10))):
            with pytest.raises(data.DataError, match=r"a\.np.*: expected numbers\. Received: dtype object"):
                read(path)

    @pytest.mark.parametrize("key", ["x", "train"])
    def test_an_archive_is_streamed_a_block_at_a_time(self, tmp_path, monkeypatch, key):
        monkeypatch.setattr("tfdgm.data.numpy_files._BLOCK_BYTES", 100)
        for i, array in enumerate((X, np.asfortranarray(X), X[:, 0], X.astype(">f8"), X[:, :2].reshape(40, 2, 1))):
            np.savez_compressed(tmp_path / f"{i}.npz", **{key: array}, **({"test": array[:3]} if key == "train" else {}))
            streamed = np.concatenate(list(data.stream(tmp_path / f"{i}.npz", 7)))
            rows = array.reshape(40, *array.shape[1:] or (1,))
            np.testing.assert_array_equal(streamed, rows if key == "x" else np.concatenate([rows, rows[:3]]))

    def test_what_compresses_well_is_not_unpacked_to_be_refused(self, tmp_path):
        big = np.zeros((2**22, 3))
        np.savez_compressed(tmp_path / "a.npz", train=big, test=big[:0])
        np.savez_compressed(tmp_path / "b.npz", x=big, y=big[:3])
        tracemalloc.start()
        with pytest.raises(data.DataError, match="array 'test' is empty"):
            data.load_arrays(tmp_path / "a.npz")
        with pytest.raises(data.DataError, match=r"as many rows in 'y' as in `x`, 4194304. Received: 3"):
            data.load_arrays(tmp_path / "b.npz", condition="y")
        with pytest.raises(data.DataError, match="no array 'z' for the condition"):
            data.load_arrays(tmp_path / "b.npz", condition="z")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < big.nbytes / 10

    def test_members_that_are_no_arrays(self, tmp_path):
        def archive(**members):
            with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
                for name, content in members.items():
                    file.writestr(name.replace("__", "."), content)
            return tmp_path / "a.npz"

        file = io.BytesIO()
        np.save(file, X)
        whole = file.getvalue()
        np.testing.assert_array_equal(in_order(archive(readme__txt="by me", x__npy=whole))[0], X)
        encrypted = bytearray(archive(x__npy=whole).read_bytes())
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # The bit of encryption in both of a member's headers.
            encrypted[encrypted.index(mark) + place] |= 1
        lying = whole.replace(b"(40, 3)", b"(4000, 3)").replace(b"  \n", b"\n", 1)
        for content, message in (
            (archive(readme__txt="by me").read_bytes(), r"expected an array `x`.*Received: readme\.txt"),
            (archive(x__npy="12345").read_bytes(), "array 'x' is damaged, or not .npy"),
            (archive(x__npy=lying).read_bytes(), "array 'x' is damaged: its header says float32"),
            (bytes(encrypted), "array 'x' is encrypted: expected an archive without a password"),
        ):
            (tmp_path / "b.npz").write_bytes(content)
            for read in (data.load_arrays, lambda path: list(data.stream(path, 9))):
                with pytest.raises(data.DataError, match=message):
                    read(tmp_path / "b.npz")

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


#: What float32 cannot hold: differences of 1e-3 at 1e4.
FINE = 1e4 + 1e-3 * np.random.RandomState(1).randn(40, 3)
SUFFIXES = ("csv", "parquet", "npy", "npz")


def write(path, x):
    """An array [n, 3] as a file of the path's kind; integers as integers."""
    if path.suffix == ".csv":
        np.savetxt(path, x, delimiter=",", fmt="%d" if x.dtype.kind in "iu" else "%.17g", header="a,b,c", comments="")
    elif path.suffix == ".parquet":
        write_parquet(path, x)
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, x)
    return path


class TestFloat64:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_values_are_what_the_file_holds(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", FINE)
        x, splits = in_order(path, dtype="float64")
        assert (x.dtype, splits.dtype) == (np.float64, "float64")
        np.testing.assert_array_equal(x, FINE)
        np.testing.assert_array_equal(np.concatenate(list(data.stream(path, 7))), FINE)
        x, splits = in_order(path)
        assert (x.dtype, splits.dtype) == (np.float32, "float32")
        np.testing.assert_array_equal(x, FINE.astype(np.float32))
        (streamed,) = data.stream(path, 99, dtype="float32")
        assert streamed.dtype == np.float32 and (streamed == x).all()

    def test_several_arrays(self, tmp_path):
        np.save(tmp_path / "1.npy", FINE[:10])
        np.save(tmp_path / "2.npy", FINE[10:])
        np.testing.assert_array_equal(in_order(tmp_path / "?.npy", dtype="float64")[0], FINE)

    def test_a_file_that_is_not_kept_in_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tfdgm.data.splits._RESIDENT_BYTES", 0)
        np.testing.assert_array_equal(in_order(write(tmp_path / "a.csv", FINE), dtype="float64")[0], FINE)

    def test_epochs_of_training(self, tmp_path):
        splits = data.load(write(tmp_path / "a.csv", FINE), dtype="float64", valid_fraction=0.0, test_fraction=0.0)
        x = np.concatenate([batch["x"].numpy() for batch in splits.train_epochs(0, 1)])
        np.testing.assert_array_equal(np.sort(x, axis=0), np.sort(FINE, axis=0))

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_conditions(self, tmp_path, suffix):
        splits = data.load(write(tmp_path / f"a.{suffix}", FINE), condition=["c", "a"], dtype="float64", shuffle=False)
        x, c = next(iter(splits.train)).values()
        assert c.dtype == "float64"
        rows = np.stack([c[:, 1], x[:, 0], c[:, 0]], axis=1)
        assert all(row in FINE.tolist() for row in rows.tolist())

    def test_conditions_beside_levels(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{i},{FINE[i, 0]:.17g}\n" for i in range(5)))
        splits = data.load(tmp_path / "a.csv", condition="b", levels=5, dtype="float64", valid_fraction=0.0, test_fraction=0.0)
        x, c = next(iter(splits.train)).values()
        assert (x.dtype, c.dtype) == ("int32", "float64")
        np.testing.assert_array_equal(c[:, 0], FINE[x[:, 0].numpy(), 0])

    def test_condition_of_an_npz(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=FINE, c=FINE[:, 0])
        splits = data.load(tmp_path / "a.npz", condition="c", dtype="float64")
        for x, c in map(dict.values, splits.train):
            np.testing.assert_array_equal(x[:, 0], c[:, 0])

    def test_a_named_set(self):
        x, c = next(iter(data.load("digits", condition="label", dtype="float64").train)).values()
        assert (x.dtype, c.dtype) == ("int32", "float64")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_the_range_is_that_of_the_dtype(self, tmp_path, suffix):
        x = np.where(np.arange(120).reshape(40, 3) == 61, -1e39, FINE)
        path = write(tmp_path / f"a.{suffix}", x)
        np.testing.assert_array_equal(in_order(path, dtype="float64")[0], x)
        with pytest.raises(data.DataError, match=r"-1e\+39 is outside float32's range"):
            data.load(path)

    @pytest.mark.parametrize("dtype", ["float16", "int32", None])
    def test_other_dtypes(self, dtype):
        for read in (lambda: data.load("digits", dtype=dtype), lambda: data.stream("digits", 9, dtype=dtype)):
            with pytest.raises(data.DataError, match=r"Expected dtype='float32' or 'float64'\. Received: dtype="):
                read()


class TestLargeIntegers:
    X = np.array([[2**24 + 1, 5, 2**25 - 1], [2**24 + 2, 6, 2**24 + 3]])

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_levels(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", self.X)
        x, splits = in_order(path, levels=2**25)
        assert (x.dtype, splits.dtype) == (np.int32, "int32")
        np.testing.assert_array_equal(x, self.X)
        np.testing.assert_array_equal(next(data.stream(path, 9, levels=2**25)), self.X)
        with pytest.raises(data.DataError, match=r"33554431 is not one of the integers 0\.\.33554430"):
            data.load(path, levels=2**25 - 1)

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_levels_beside_a_condition(self, tmp_path, suffix, recwarn):
        path = write(tmp_path / f"a.{suffix}", self.X)
        splits = data.load(path, levels=2**25, condition="b", shuffle=False, valid_fraction=0.0, test_fraction=0.0)
        x, c = next(iter(splits.train)).values()
        np.testing.assert_array_equal(x, self.X[:, [0, 2]])
        np.testing.assert_array_equal(c, self.X[:, [1]])
        assert not recwarn.list
        with pytest.raises(data.DataError, match=r"33554431 is not one of the integers 0\.\.33554430"):
            data.load(path, levels=2**25 - 1, condition="b")

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_a_condition_that_float32_rounds_is_a_warning(self, tmp_path, suffix, recwarn):
        path = write(tmp_path / f"a.{suffix}", self.X)
        options = {"condition": "a", "levels": 2**25, "shuffle": False, "valid_fraction": 0.0, "test_fraction": 0.0}
        _, c = next(iter(data.load(path, dtype="float64", **options).train)).values()
        np.testing.assert_array_equal(c, self.X[:, :1])
        assert not recwarn.list
        message = r"column 1 \(a\): float32 rounds integers above 2\*\*24, such as 16777217; float64 keeps"
        with pytest.warns(UserWarning, match=message):
            data.load(path, **options)

    def test_so_is_one_of_an_npz(self, tmp_path, recwarn):
        np.savez(tmp_path / "a.npz", x=X[:2], ids=self.X[:, 0])
        splits = data.load(tmp_path / "a.npz", condition="ids", dtype="float64", valid_fraction=0.0, test_fraction=0.0)
        _, c = next(iter(splits.train)).values()
        assert sorted(c[:, 0].numpy()) == [2**24 + 1, 2**24 + 2]
        assert not recwarn.list
        with pytest.warns(UserWarning, match=r"array 'ids': float32 rounds integers above .*, such as 16777217"):
            data.load(tmp_path / "a.npz", condition="ids")

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_beyond_float64(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", np.array([[2**53 + 3, 1, 2], [3, 4, 5]]))
        message = r"column 1 \(a\): float64 rounds integers above 2\*\*53, such as 9007199254740996\."
        with pytest.warns(UserWarning, match=message):
            list(data.stream(path, 9))
        with pytest.raises(data.DataError, match=r"9\.007199254741e\+15 is not one of the integers"):
            data.load(path, levels=2**31)

    @pytest.mark.parametrize("values", ["1.5\n123456789\n", "1.23456789e+10\n", "1\n1e30\n", "16777216\n"])
    def test_real_values_are_no_integers(self, tmp_path, values, recwarn):
        (tmp_path / "a.csv").write_text(values)
        list(data.stream(tmp_path / "a.csv", 9))
        data.load(tmp_path / "a.csv")
        assert not recwarn.list

    def test_a_stream_of_integers_that_int32_does_not_hold(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[1], [2**31]]))
        with pytest.raises(data.DataError, match=r"row 1, column 0 .*expected integers below 2\*\*31. Received: 2147483648"):
            list(data.stream(tmp_path / "a.npy", 9))


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
        np.testing.assert_array_equal(next(iter(splits.test))["x"][0, ..., 0], test)

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
        np.testing.assert_array_equal(next(data.stream(tmp_path, 99, split="test", dtype="float32")), X[25:])
        write_csv(tmp_path / "test.csv", X[:, :2])
        with pytest.raises(data.DataError, match="rows of one shape"):
            data.load(tmp_path)

    def test_cache_that_cannot_be_written(self, tmp_path, monkeypatch):
        write_csv(tmp_path / "a.csv", X)
        monkeypatch.setenv("TFDGM_CACHE_DIR", str(tmp_path / "a.csv" / "below"))
        with pytest.raises(data.DataError, match="Set TFDGM_CACHE_DIR"):
            data.load(tmp_path / "a.csv")

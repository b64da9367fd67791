import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tfdgm import data


def rows(dataset):
    return np.concatenate([batch["x"].numpy() for batch in dataset])


@pytest.fixture
def numbered(tmp_path):
    """A .npy file of 100 rows; row i is [i, i + 0.5]."""
    path = tmp_path / "numbered.npy"
    np.save(path, np.arange(100.0)[:, np.newaxis] + [0.0, 0.5])
    return path


class TestImport:
    def test_is_lazy(self):
        code = (
            "import sys, tfdgm.data; print([m for m in ('tensorflow_datasets', 'sklearn', 'pyarrow', 'PIL') if m in sys.modules])"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.strip().splitlines()[-1] == "[]"


class TestSplits:
    def test_every_row_is_in_one_split(self, numbered):
        train, valid, test = data.load(numbered)
        firsts = [rows(d)[:, 0] for d in (train, valid, test)]
        assert [len(f) for f in firsts] == [80, 10, 10]
        np.testing.assert_array_equal(np.sort(np.concatenate(firsts)), np.arange(100))

    def test_attributes(self, numbered):
        splits = data.load(numbered, valid_fraction=0.2, test_fraction=0.25)
        assert splits.event_shape == (2,)
        assert (splits.dtype, splits.levels, splits.condition_shape) == ("float32", None, None)
        assert (splits.num_train, splits.num_valid, splits.num_test) == (55, 20, 25)
        assert len(splits.sha256) == 64
        assert splits.name == str(numbered) and str(numbered) in splits.description
        assert "event_shape=(2,)" in repr(splits)

    def test_sha256_is_that_of_the_bytes(self, tmp_path):
        (tmp_path / "a.csv").write_text("1\n2\n3\n")
        expected = hashlib.sha256(b"1\n2\n3\n").hexdigest()
        assert data.load(tmp_path / "a.csv").sha256 == expected

    def test_train_is_reshuffled_and_the_rest_is_not(self, numbered):
        train, valid, _ = data.load(numbered)
        first, second = rows(train), rows(train)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
        np.testing.assert_array_equal(rows(valid), rows(valid))
        assert np.all(np.diff(rows(valid)[:, 0]) > 0)

    def test_seed_fixes_split_and_order(self, numbered):
        one, same, other = (data.load(numbered, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(rows(one.train), rows(same.train))
        np.testing.assert_array_equal(rows(one.test), rows(same.test))
        assert not np.array_equal(rows(one.test), rows(other.test))

    def test_the_default_split_never_changes(self, numbered):
        # A change here means that published figures were made on other rows.
        assert rows(data.load(numbered).test)[:, 0].tolist() == [2, 16, 26, 54, 55, 73, 75, 86, 93, 95]

    def test_batches(self, numbered):
        train, _, _ = data.load(numbered, batch_size=30, shuffle=False)
        assert [len(batch["x"]) for batch in train] == [30, 30, 20]
        assert train.cardinality() == 3
        assert train.element_spec["x"].shape.as_list() == [None, 2]
        assert np.all(np.diff(rows(train)[:, 0]) > 0)

    def test_single_rows(self, numbered):
        train, _, _ = data.load(numbered, batch_size=None)
        assert train.cardinality() == 80
        assert {row["x"].shape.as_list()[0] for row in train} == {2}

    def test_memory_mapped_rows_equal_resident_ones(self, numbered, monkeypatch):
        resident = rows(data.load(numbered).train)
        monkeypatch.setattr("tfdgm.data.splits._RESIDENT_BYTES", 0)
        mapped = data.load(numbered)
        assert mapped.train.element_spec["x"].shape.as_list() == [None, 2]
        np.testing.assert_array_equal(rows(mapped.train), resident)

    def test_more_rows_than_are_shuffled_together(self, numbered, monkeypatch):
        monkeypatch.setattr("tfdgm.data.splits._SHUFFLE_ROWS", 10)
        first = rows(data.load(numbered).train)[:, 0]
        assert len(set(first)) == 80
        assert first[:10].max() > 40

    def test_no_fractions(self, numbered):
        splits = data.load(numbered, valid_fraction=0.0, test_fraction=0.0)
        assert (splits.num_train, splits.num_valid, splits.num_test) == (100, 0, 0)
        assert list(splits.valid) == []

    def test_few_rows_still_give_three_splits(self, tmp_path):
        np.save(tmp_path / "few.npy", np.ones((3, 2)))
        splits = data.load(tmp_path / "few.npy")
        assert (splits.num_train, splits.num_valid, splits.num_test) == (1, 1, 1)

    def test_epochs_depend_on_their_number_alone(self, numbered):
        splits = data.load(numbered, batch_size=30)
        whole = rows(splits.train_epochs(0, 3))
        assert len(whole) == 3 * 80
        np.testing.assert_array_equal(rows(splits.train_epochs(2, 3)), whole[160:])
        assert not np.array_equal(whole[:80], whole[80:160])
        for epoch in (0, 1, 2):
            assert sorted(whole[80 * epoch : 80 * (epoch + 1), 0]) == sorted(rows(splits.train)[:, 0])

    def test_fits_a_keras_model(self, numbered):
        import keras

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(loss="mse")
        train, valid, _ = data.load(numbered)
        train, valid = (split.map(lambda batch: (batch["x"], batch["x"])) for split in (train, valid))
        history = model.fit(train, validation_data=valid, shuffle=False, verbose=0)
        assert np.isfinite(history.history["val_loss"][0])


class TestDigits:
    def test_shape_and_levels(self):
        splits = data.load("digits")
        assert splits.event_shape == (8, 8)
        assert (splits.levels, splits.dtype) == (17, "int32")
        assert (splits.num_train, splits.num_valid, splits.num_test) == (1437, 180, 180)
        x = rows(splits.train)
        assert x.dtype == np.int32
        assert (x.min(), x.max()) == (0, 16)

    def test_labels(self):
        splits = data.load("digits", condition="label", batch_size=10)
        x, label = next(iter(splits.train)).values()
        assert splits.condition_shape == (10,)
        assert (x.shape, label.shape, label.dtype) == ((10, 8, 8), (10, 10), "float32")
        np.testing.assert_array_equal(label.numpy().sum(axis=1), 1.0)

    def test_labels_belong_to_their_images(self):
        from sklearn.datasets import load_digits

        bunch = load_digits()
        label_of = {i.tobytes(): t for i, t in zip(bunch.images.astype(np.int32), bunch.target, strict=True)}
        for x, label in map(dict.values, data.load("digits", condition="label").test):
            assert [label_of[i.tobytes()] for i in x.numpy()] == np.argmax(label, axis=1).tolist()

    def test_hash_is_fixed(self):
        assert data.load("digits").sha256.startswith("8f26b2bd9d135c25")


class TestStream:
    def test_all_rows_in_order(self, numbered):
        batches = list(data.stream(numbered, 30))
        assert [len(b) for b in batches] == [30, 30, 30, 10]
        assert batches[0].dtype == np.float64
        assert next(data.stream(numbered, 30, dtype="float32")).dtype == np.float32
        np.testing.assert_array_equal(np.concatenate(batches)[:, 0], np.arange(100))

    def test_batches_span_files_and_blocks(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tfdgm.data.csv_files._BLOCK_BYTES", 64)
        x = np.arange(1, 301).reshape(100, 3)  # 0,1,2 would be a header.
        for i in range(4):
            np.savetxt(tmp_path / f"{i}.csv", x[25 * i : 25 * (i + 1)], delimiter=",", fmt="%g")
        batches = list(data.stream(tmp_path / "*.csv", 7))
        assert [len(b) for b in batches] == [7] * 14 + [2]
        np.testing.assert_array_equal(np.concatenate(batches), x)

    def test_named_set(self):
        batches = list(data.stream("digits", 1000))
        assert [b.shape for b in batches] == [(1000, 8, 8), (797, 8, 8)]
        assert batches[0].dtype == np.int32

    def test_split_of_a_named_set(self):
        test = np.concatenate(list(data.stream("digits", 100, split="test")))
        np.testing.assert_array_equal(test, rows(data.load("digits").test))

    def test_split_of_a_file_without_splits(self, numbered):
        with pytest.raises(data.DataError, match=r"no splits of its own|no split 'test'"):
            list(data.stream(numbered, 10, split="test"))

    def test_missing_file_is_found_out_at_once(self):
        with pytest.raises(data.DataError, match="no file"):
            data.stream("absent.csv", 10)

    def test_integers(self, tmp_path):
        np.save(tmp_path / "a.npy", np.ones((5, 2), np.uint8))
        (batch,) = data.stream(tmp_path / "a.npy", 10)
        assert batch.dtype == np.int32
        (tmp_path / "a.csv").write_text("1,0\n")
        (batch,) = data.stream(tmp_path / "a.csv", 10, levels=2)
        assert batch.dtype == np.int32

    @pytest.mark.slow
    def test_a_long_csv_takes_little_memory(self, tmp_path):
        path = tmp_path / "long.csv"
        block = "\n".join(",".join(f"{v:.8g}" for v in r) for r in np.random.RandomState(0).randn(1000, 43))
        with open(path, "w") as file:
            for _ in range(1000):
                file.write(block + "\n")
            file.write(block.split("\n")[0] + "\n")
        code = (
            "import resource, sys, tfdgm.data as d\n"
            "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            f"s = d.stream({str(path)!r}, 1000); n = len(next(s)); start = peak()\n"
            "n += sum(len(b) for b in s); print(n, (peak() - start) // 1024)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        count, megabytes = map(int, out.stdout.split()[-2:])
        assert count == 1_000_001
        assert megabytes < 150


class TestNames:
    def test_known(self):
        assert {"digits", "mnist", "power", "bsds300_patches"} <= set(data.names())

    @pytest.mark.parametrize(("wrong", "near"), [("digit", "digits"), ("minibone", "miniboone")])
    def test_unknown_suggests_the_nearest(self, wrong, near):
        with pytest.raises(data.DataError, match=f"no data set.*{wrong}.*mean '{near}'.*Known data sets: digits"):
            data.load(wrong)

    def test_unknown_tfds_name(self):
        with pytest.raises(data.DataError, match="Did you mean 'fashion_mnist'"):
            data.load("tfds:fashionmnist")

    def test_absent_source_file(self, tmp_path):
        with pytest.raises(data.DataError, match=r"power.data\.npy.*data_dir \(or TFDGM_DATA_DIR\)"):
            data.load("power", data_dir=tmp_path)
        with pytest.raises(data.DataError, match=r"<data_dir>.BSDS300.BSDS300\.hdf5"):
            data.load("bsds300")
        with pytest.raises(data.DataError, match=r"bsds300.train.\*\.jpg"):
            data.load("bsds300_patches", data_dir=tmp_path)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"batch_size": 0}, "batch_size of at least 1"),
            ({"valid_fraction": 0.6, "test_fraction": 0.5}, "fractions"),
            ({"test_fraction": -0.1}, "fractions"),
            ({"levels": 1}, "levels of at least 2"),
            ({"levels": 16}, r"digits is integers 0..16. Received: levels=16"),
            ({"condition": "colour"}, "condition='colour'"),
            ({"data_dir": "absent"}, "no folder: absent"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(data.DataError, match=message):
            data.load("digits", **arguments)

    def test_levels_of_a_named_set_may_grow(self):
        assert data.load("digits", levels=256).levels == 256

    @pytest.mark.parametrize("source", ["", 3])
    def test_source(self, source):
        with pytest.raises(data.DataError, match="name or a path"):
            data.load(source)


class TestWeights:
    @pytest.fixture
    def table(self, tmp_path):
        """Row i is a = i, b = i + 0.5, and the weight 1 + i % 5."""
        path, i = tmp_path / "rows.csv", np.arange(100.0)
        np.savetxt(path, np.stack([i, 1 + i % 5, i + 0.5], axis=1), delimiter=",", header="a,w,b", comments="")
        return path

    @pytest.mark.parametrize("name", ["rows.csv.gz", "rows.tsv"])
    def test_of_every_kind_of_table(self, table, name):
        rows = np.loadtxt(table, delimiter=",", skiprows=1)
        path = table.with_name(name)
        np.savetxt(path, rows, delimiter="\t", header="a\tw\tb", comments="")
        here, there = (data.load_arrays(source, weight="w").parts["test"] for source in (path, table))
        np.testing.assert_array_equal(here.weight, there.weight)
        np.testing.assert_array_equal(here.x, there.x)

    @pytest.mark.parametrize("condition", [None, "b"])
    def test_a_column_of_a_table(self, table, condition):
        splits = data.load(table, weight="w", condition=condition)
        assert splits.columns == (("a", "b") if condition is None else ("a",))
        of_train = np.concatenate([batch["weight"].numpy() for batch in splits.train])
        assert of_train.mean() == pytest.approx(1)
        for split in (*splits, splits.train_epochs(0, 1)):
            for batch in split.as_numpy_iterator():
                ratio = batch["weight"] / (1 + batch["x"][:, 0] % 5)
                np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
                assert ("condition" in batch) == (condition is not None)
                if condition is not None:
                    np.testing.assert_array_equal(batch["condition"][:, 0], batch["x"][:, 0] + 0.5)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [("a", None), ("v", "no column 'v'"), ("m", r"column 'm': expected weights that are not negative.* from -1 on")],
    )
    def test_what_is_none(self, table, weight, message):
        text = table.read_text().splitlines()
        table.write_text("\n".join([f"{text[0]},m", *(f"{line},-1" for line in text[1:])]))
        if message is None:
            assert data.load(table, weight=weight).columns == ("w", "b", "m")
            return
        with pytest.raises(data.DataError, match=message):
            data.load(table, weight=weight)

    def test_only_tables_have_some(self, numbered):
        for source in (numbered, "digits"):
            with pytest.raises(data.DataError, match=r"A weight is read from a column of a table\. Received: weight='w'"):
                data.load(source, weight="w")


class TestIntegerColumns:
    @pytest.fixture
    def table(self, tmp_path):
        path, i = tmp_path / "rows.csv", np.arange(100)
        np.savetxt(path, np.stack([i / 7, i % 13, i - 50], axis=1), delimiter=",", header="a,n,m", comments="")
        return path

    def test_have_levels_beside_real_columns(self, table):
        splits = data.load(table, integers=["n"])
        assert splits.levels == (None, 13, None) and splits.dtype == "float32" and splits.event.levels == splits.levels
        assert data.load(table, integers="n", condition="a").levels == (13, None)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"integers": ["k"]}, "no column 'k' to be integers. It has: a, n, m"),
            ({"integers": ["a"]}, r"column 'a': expected integers, 0 or more. Received: 0\.14"),
            ({"integers": ["m"]}, "column 'm': expected integers, 0 or more. Received: -50"),
            ({"integers": ["n"], "levels": 13}, "levels, for all columns, or integers, for some"),
        ],
    )
    def test_refused(self, table, options, message):
        with pytest.raises(data.DataError, match=message):
            data.load(table, **options)

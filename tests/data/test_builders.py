import gzip
import hashlib
import importlib
import os
import pathlib

import numpy as np
import pytest

from tfdgm import data


def rows(dataset):
    return np.concatenate([batch["x"].numpy() for batch in dataset])


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


class TestBinarizedMnist:
    @pytest.fixture
    def bits(self, tmp_path):
        rng = np.random.RandomState(0)
        bits = {split: rng.randint(2, size=(n, 784)) for split, n in (("train", 20), ("valid", 5), ("test", 6))}
        (tmp_path / "binarized_mnist").mkdir()
        packed = {split: np.packbits(x, axis=1) for split, x in bits.items()}
        np.savez(tmp_path / "binarized_mnist" / "binarized_mnist.npz", **packed)
        return bits

    def test_rows(self, tmp_path, bits):
        splits = data.load("binarized_mnist", data_dir=tmp_path, shuffle=False)
        assert splits.event_shape == (28, 28)
        assert (splits.dtype, splits.levels) == ("int32", 2)
        for dataset, x in zip(splits, bits.values(), strict=True):
            np.testing.assert_array_equal(rows(dataset).reshape(-1, 784), x)
        source = (tmp_path / "binarized_mnist" / "binarized_mnist.npz").read_bytes()
        assert splits.sha256 == hashlib.sha256(source).hexdigest()

    def test_prepared_once(self, tmp_path, bits):
        first = data.load("binarized_mnist", data_dir=tmp_path)
        # Without the data folder the cache serves it.
        assert data.load("binarized_mnist").sha256 == first.sha256

    def test_other_source_files_are_prepared_anew(self, tmp_path, bits):
        data.load("binarized_mnist", data_dir=tmp_path)
        packed = np.packbits(1 - bits["test"], axis=1)
        path = tmp_path / "binarized_mnist" / "binarized_mnist.npz"
        np.savez(path, train=packed, valid=packed, test=packed)
        splits = data.load("binarized_mnist", data_dir=tmp_path)
        np.testing.assert_array_equal(rows(splits.test).reshape(-1, 784), 1 - bits["test"])

    def test_wrong_or_damaged_source(self, tmp_path):
        path = tmp_path / "binarized_mnist" / "binarized_mnist.npz"
        path.parent.mkdir()
        wrong = np.zeros((3, 784), np.uint8)
        np.savez(path, train=wrong, valid=wrong, test=wrong)
        with pytest.raises(data.DataError, match=r"expected uint8 \[n, 98\]"):
            data.load("binarized_mnist", data_dir=tmp_path)
        path.write_bytes(b"garbage")
        with pytest.raises(data.DataError, match=r"binarized_mnist.npz cannot be read"):
            data.load("binarized_mnist", data_dir=tmp_path)

    @pytest.mark.slow
    def test_real(self, real_data):
        splits = data.load("binarized_mnist", data_dir=real_data("binarized_mnist"))
        assert (splits.num_train, splits.num_valid, splits.num_test) == (50_000, 10_000, 10_000)
        assert abs(rows(splits.test).mean() - 0.133) < 0.002


class TestMaf:
    """MAF's preparation on small files laid out as in its archive."""

    def check(self, splits, shape, counts):
        assert splits.event_shape == shape
        assert (splits.dtype, splits.levels) == ("float32", None)
        assert (splits.num_train, splits.num_valid, splits.num_test) == counts

    def test_power(self, tmp_path):
        table = np.random.RandomState(1).rand(200, 8) * 50
        save(tmp_path / "power" / "data.npy", table)
        splits = data.load("power", data_dir=tmp_path, shuffle=False)
        self.check(splits, (6,), (162, 18, 20))
        both = np.concatenate([rows(splits.train), rows(splits.valid)])
        np.testing.assert_allclose(both.mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(both.std(axis=0), 1.0, rtol=1e-5)
        # The last column, time, has no noise: MAF's order of rows shows in it.
        np.random.RandomState(42).shuffle(table)
        time = table[:, -1]
        expected = (time[180:] - time[:180].mean()) / time[:180].std()
        np.testing.assert_allclose(rows(splits.test)[:, -1], expected, rtol=1e-5, atol=1e-6)

    def test_miniboone(self, tmp_path):
        x = np.random.RandomState(1).randn(100, 43) * 3 + 5
        save(tmp_path / "miniboone" / "data.npy", x)
        splits = data.load("miniboone", data_dir=tmp_path)
        self.check(splits, (43,), (81, 9, 10))
        expected = (x[90:] - x[:90].mean(axis=0)) / x[:90].std(axis=0)
        np.testing.assert_allclose(rows(splits.test), expected, rtol=1e-5, atol=1e-6)

    def test_hepmass(self, tmp_path):
        rng = np.random.RandomState(1)
        folder = tmp_path / "hepmass"
        folder.mkdir()
        # 27 features, of which six take few values.
        features = rng.randn(400, 27)
        features[:, ::5] = rng.randint(2, size=(400, 6))
        table = np.column_stack([np.arange(400) % 2, features])
        header = ",".join(["# label", *(f"f{i}" for i in range(27))])
        np.savetxt(folder / "1000_train.csv", table[:300], delimiter=",", header=header, comments="")
        np.savetxt(folder / "1000_test.csv", table[300:], delimiter=",", header=header + ",mass", comments="")
        splits = data.load("hepmass", data_dir=tmp_path)
        self.check(splits, (21,), (135, 15, 50))
        keep = [i for i in range(27) if i % 5]
        signal = features[1:300:2]
        expected = (features[301::2] - signal.mean(axis=0)) / signal.std(axis=0, ddof=1)
        np.testing.assert_allclose(rows(splits.test), expected[:, keep], rtol=1e-4, atol=1e-5)

    def test_gas(self, tmp_path):
        pandas = pytest.importorskip("pandas")
        rng = np.random.RandomState(1)
        sensors = np.repeat(rng.randn(100, 8), 2, axis=1) + 1e-3 * rng.randn(100, 16)
        names = ["Time", "Meth", "Eth", *(f"R{i}" for i in range(16))]
        table = pandas.DataFrame(np.column_stack([rng.randn(100, 3), sensors]), columns=names)
        (tmp_path / "gas").mkdir()
        table.to_pickle(tmp_path / "gas" / "ethylene_CO.pickle")
        splits = data.load("gas", data_dir=tmp_path)
        self.check(splits, (8,), (81, 9, 10))
        expected = (sensors - sensors.mean(axis=0)) / sensors.std(axis=0, ddof=1)
        np.testing.assert_allclose(rows(splits.test), expected[90:, 1::2], rtol=1e-4, atol=1e-5)

    def test_gas_drops_the_first_of_two_correlated_columns(self):
        from tfdgm.data.builders.gas import drop_correlated

        a, b = np.random.RandomState(0).randn(2, 50)
        x = np.column_stack([a, b, 2 * a + 1, -b, 3 * a])
        np.testing.assert_array_equal(drop_correlated(x), x[:, [1, 3, 4]])

    def test_bsds300(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        x = np.random.RandomState(1).randn(30, 63).astype(np.float32)
        (tmp_path / "BSDS300").mkdir()
        with h5py.File(tmp_path / "BSDS300" / "BSDS300.hdf5", "w") as file:
            file["train"], file["validation"], file["test"] = x[:20], x[20:25], x[25:]
        splits = data.load("bsds300", data_dir=tmp_path)
        self.check(splits, (63,), (20, 5, 5))
        np.testing.assert_array_equal(rows(splits.test), x[25:])

    def test_wrong_width(self, tmp_path):
        save(tmp_path / "miniboone" / "data.npy", np.random.RandomState(1).randn(100, 42))
        with pytest.raises(data.DataError, match=r"miniboone.*shape \(43,\).*Received: shape \(81, 42\)"):
            data.load("miniboone", data_dir=tmp_path)


class TestBsds300Patches:
    def test_patches(self):
        from tfdgm.data.builders.bsds300_patches import patches

        images = [np.full((20, 30), 7, np.uint8), np.arange(600, dtype=np.uint16).reshape(20, 30) % 256]
        images = [i.astype(np.uint8) for i in images]
        x = patches(images, 1000, np.random.RandomState(0))
        assert (x.shape, x.dtype) == ((1000, 63), np.float32)
        # The dropped pixel is minus the sum of the others; flat patches hold the noise alone.
        flat = np.abs(x).max(axis=1) < 1 / 256
        assert 0.4 < flat.mean() < 0.6
        assert abs(x[flat].std() * 256 - np.sqrt(1 / 12)) < 0.01
        np.testing.assert_array_equal(x, patches(images, 1000, np.random.RandomState(0)))

    def test_small(self, tmp_path, monkeypatch):
        import PIL.Image

        from tfdgm.data.builders.bsds300_patches import Bsds300Patches

        monkeypatch.setattr(Bsds300Patches, "NUM_PATCHES", {"train": 50, "validation": 10, "test": 20})
        for part, count in (("train", 22), ("test", 2)):
            (tmp_path / "bsds300" / part).mkdir(parents=True)
            for i in range(count):
                image = np.random.RandomState(i).randint(256, size=(16, 16, 3)).astype(np.uint8)
                PIL.Image.fromarray(image).save(tmp_path / "bsds300" / part / f"{i}.jpg")
        splits = data.load("bsds300_patches", data_dir=tmp_path)
        assert splits.event_shape == (63,)
        assert (splits.num_train, splits.num_valid, splits.num_test) == (50, 10, 20)

    @pytest.mark.slow
    def test_real(self, real_data, cache):
        from tfdgm.data.builders.bsds300_patches import Bsds300Patches

        # The arrays alone: as records they take minutes more, which `test_small` takes through the whole way.
        paths = Bsds300Patches.source_files(pathlib.Path(real_data("bsds300")))
        arrays = Bsds300Patches(data_dir=cache)._arrays(paths)
        assert {k: x.shape for k, x in arrays.items()} == {
            "train": (1_000_000, 63),
            "validation": (50_000, 63),
            "test": (250_000, 63),
        }
        train, test = (arrays[k].astype(np.float64) for k in ("train", "test"))
        chol = np.linalg.cholesky(np.cov(train, rowvar=False))
        z = np.linalg.solve(chol, (test - train.mean(axis=0)).T)
        log_prob = -0.5 * np.sum(z**2, axis=0) - np.sum(np.log(np.diag(chol))) - 31.5 * np.log(2 * np.pi)
        assert abs(log_prob.mean() - 96.3) < 0.4


class TestOfficial:
    """TFDS's own MNIST, from local files and without a network."""

    @pytest.mark.slow
    def test_mnist(self, real_data, cache, monkeypatch):
        # The first images of each file: preparing all of them takes a minute.
        mnist = importlib.import_module("tensorflow_datasets.image_classification.mnist")
        monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 12_000)
        monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 1_000)
        folder = real_data("mnist")
        splits = data.load("mnist", data_dir=folder, condition="label")
        assert splits.classes == tuple("0123456789")
        assert splits.event_shape == (28, 28, 1)
        assert (splits.dtype, splits.levels, splits.condition_shape) == ("int32", 256, (10,))
        assert (splits.num_train, splits.num_valid, splits.num_test) == (2_000, 10_000, 1_000)
        with gzip.open(os.path.join(folder, "mnist", "t10k-images-idx3-ubyte.gz")) as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(10_000, 28, 28, 1)
        with gzip.open(os.path.join(folder, "mnist", "t10k-labels-idx1-ubyte.gz")) as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
        label_of = {i.tobytes(): label for i, label in zip(images, labels, strict=True)}
        for x, label in map(dict.values, splits.test):
            given = [label_of[i.tobytes()] for i in x.numpy().astype(np.uint8)]
            assert given == np.argmax(label, axis=1).tolist()
        # Served again from the cache; nothing of the sources is left there but what was made of them.
        assert data.load("tfds:mnist").sha256 == splits.sha256
        assert sorted(p.name for p in cache.iterdir()) == ["tfds"]

    def test_damaged_file(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        for part in ("t10k", "train"):
            for what in ("images-idx3", "labels-idx1"):
                (tmp_path / "mnist" / f"{part}-{what}-ubyte.gz").write_bytes(b"garbage")
        with pytest.raises(data.DataError, match=r"ubyte.gz is damaged, or another file.*expected sha256"):
            data.load("mnist", data_dir=tmp_path)

    def test_no_network(self, tmp_path, monkeypatch):
        def refuse(*args, **kwargs):
            raise OSError("no network")

        monkeypatch.setattr("socket.create_connection", refuse)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        message = r"mnist could not be prepared: storage.* cannot be reached \(no network\).*t10k.*must lie"
        with pytest.raises(data.DataError, match=message):
            data.load("mnist", data_dir=tmp_path)

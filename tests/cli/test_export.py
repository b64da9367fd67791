import numpy as np

import tfdgm


class TestExport:
    def test_versions_count_up(self, cli, vector_model, tmp_path):
        for _ in range(2):
            result = cli("export", vector_model / "model", tmp_path / "served")
        assert result.code == 0 and f"SavedModel: {tmp_path}/served/2" in result.out
        assert cli("export", vector_model / "model", tmp_path / "served" / "7").code == 0
        assert sorted(p.name for p in (tmp_path / "served").iterdir()) == ["1", "2", "7"]
        x = np.ones((4, 3))
        a, b = (tfdgm.load(path).log_prob(x) for path in (vector_model / "model", tmp_path / "served"))
        assert (np.asarray(a) == np.asarray(b)).all()

    def test_a_version_that_is_there_stays(self, cli, fails, vector_model, tmp_path):
        assert cli("export", vector_model / "model", tmp_path / "3").code == 0
        before = (tmp_path / "3" / "saved_model.pb").stat().st_mtime_ns
        assert "exists already" in fails("export", vector_model / "model", tmp_path / "3")
        assert (tmp_path / "3" / "saved_model.pb").stat().st_mtime_ns == before
        assert cli("export", vector_model / "model", tmp_path / "3", "--overwrite").code == 0

    def test_a_file_in_the_way(self, fails, vector_model, tmp_path):
        (tmp_path / "file").write_text("")
        fails("export", vector_model / "model", tmp_path / "file")

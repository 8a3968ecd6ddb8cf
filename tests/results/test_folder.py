"""Whether results may go to a folder is known before anything is computed, and asking leaves no trace."""

import os
from pathlib import Path

import pytest
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results import check_folder, save
from mambascope.results.folder import check_file, write_files


def test_an_absent_or_empty_folder_will_do_and_is_left_as_it_was(tmp_path: Path):
    check_folder(tmp_path / "a" / "b", "trace")
    check_folder(tmp_path, "trace")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_of_the_same_method_will_do(tmp_path: Path):
    save(xr.Dataset({"score": 1.0}, attrs={"method": "trace"}), tmp_path)
    check_folder(tmp_path, "trace")
    with pytest.raises(OutputError, match="holds a result of 'trace', which one of 'knockout'"):
        check_folder(tmp_path, "knockout")


def test_a_folder_with_other_files_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="holds other files and no result"):
        check_folder(tmp_path, "trace")


@pytest.mark.parametrize("text", ['{"name": "a web app"}', "[]", "not json"])
def test_a_foreign_manifest_is_refused(text: str, tmp_path: Path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match="belongs to no result"):
        check_folder(tmp_path, "trace")


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"cannot write to .*: .*file is a file"):
            check_folder(folder, "trace")


def test_a_place_where_nothing_can_be_written_is_refused():
    with pytest.raises(OutputError, match="cannot write to /proc/results"):
        check_folder(Path("/proc/results"), "trace")


def test_a_file_may_be_new_or_replace_another_but_not_a_folder(tmp_path: Path):
    check_file(tmp_path / "a" / "new.parquet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").write_text("kept")
    check_file(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "kept"
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        check_file(tmp_path)
    with pytest.raises(OutputError, match="is a file"):
        check_file(tmp_path / "old" / "new.parquet")


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_an_interruption_leaves_the_earlier_file_and_nothing_half_written(
    at: str, tmp_path: Path, monkeypatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "t").write_text("earlier")
    monkeypatch.setattr(*{"fsync": (os, at), "replace": (Path, at)}[at], interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"t": b"later", "u": b"another"})
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert (tmp_path / "t").read_text() == "earlier"

"""Whose a sweep's folder is, and that one run at a time is at work in it."""

from pathlib import Path

import pytest

from mambascope.errors import OutputError
from mambascope.results.folder import write_files
from mambascope.runner.folder import LOCK, claimed, difference
from mambascope.runner.methods import method_of
from tests.runner.small import finish

TRACE = method_of("trace")
SWEEP = {"model": "m", "batch": 4, "tracing": {"samples": 2, "site": "state"}}


def with_work(path: Path) -> None:
    with claimed(path, SWEEP, TRACE) as folder:
        folder.shards("asked").write(0, b"something")


def test_a_new_folder_is_made_and_says_whose_it_is(tmp_path: Path):
    out = tmp_path / "a" / "b"
    with claimed(out, SWEEP, TRACE) as folder:
        assert folder.manifest["method"] == "sweep.trace"
        assert folder.manifest["sweep"] == SWEEP
        assert not folder.started
        assert not folder.finished


def test_the_same_sweep_may_go_on(tmp_path: Path):
    with_work(tmp_path)
    with claimed(tmp_path, SWEEP, TRACE) as folder:
        assert folder.started


def test_another_configuration_is_refused_with_the_differences_named(tmp_path: Path):
    with_work(tmp_path)
    ours = {"model": "m", "batch": 8, "tracing": {"samples": 3, "site": "state"}}
    before = (tmp_path / "manifest.json").read_bytes()
    wanted = r"\(batch: 4 there, 8 here; tracing.samples: 2 there, 3 here\)"
    with pytest.raises(OutputError, match=wanted), claimed(tmp_path, ours, TRACE):
        pass
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_a_folder_in_which_nothing_was_done_yet_is_anyones(tmp_path: Path):
    with claimed(tmp_path, SWEEP, TRACE):
        pass
    with claimed(tmp_path, {**SWEEP, "batch": 9}, TRACE) as folder:
        assert folder.manifest["sweep"]["batch"] == 9


def test_a_folder_that_was_only_locked_is_anyones(tmp_path: Path):
    (tmp_path / LOCK).touch()
    (tmp_path / ".manifest.json.abc").write_text("{")
    with claimed(tmp_path, SWEEP, TRACE) as folder:
        assert folder.manifest["sweep"] == SWEEP
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "manifest.json"]


def test_options_of_which_one_side_knows_nothing_are_named(tmp_path: Path):
    assert difference({"a": 1, "c": {"d": 2}}, {"a": 1, "b": "x", "c": {"d": 2}}) == (
        "b: None there, 'x' here"
    )
    assert difference(SWEEP, SWEEP) == ""


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds other files"), claimed(tmp_path, SWEEP, TRACE):
        pass
    write_files(tmp_path, {"manifest.json": b'{"format": 1, "method": "trace"}'})
    with (
        pytest.raises(OutputError, match="holds a result of 'trace'"),
        claimed(tmp_path, SWEEP, TRACE),
    ):
        pass
    write_files(tmp_path, {"manifest.json": b'{"format": 1, "method": "sweep.trace"}'})
    with pytest.raises(OutputError, match="result that was saved"), claimed(tmp_path, SWEEP, TRACE):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "notes.txt"]


@pytest.mark.parametrize("folder", ["/proc/sweep", "{tmp}/file"])
def test_a_folder_that_cannot_be_written_to_is_one_error(folder: str, tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    with (
        pytest.raises(OutputError, match="cannot write to"),
        claimed(Path(folder.format(tmp=tmp_path)), SWEEP, TRACE),
    ):
        pass


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path):
    with (
        claimed(tmp_path, SWEEP, TRACE),
        pytest.raises(OutputError, match="another run is at work in"),
        claimed(tmp_path, SWEEP, TRACE),
    ):
        pass
    with claimed(tmp_path, SWEEP, TRACE):  # the lock went with the first
        pass


def test_a_run_in_another_process_is_refused_too(tmp_path: Path, model: Path, facts: Path):
    from tests.runner.small import command, start

    with claimed(tmp_path, SWEEP, TRACE):
        other = start(command(model, facts, tmp_path))
        told = other.communicate()[1]
    assert other.returncode == 2
    assert "another run is at work in" in told
    finish(command(model, facts, tmp_path))

"""`mambascope dataset build` and `mambascope dataset show`."""

import hashlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from huggingface_hub.utils import logging

from mambascope.cli.main import run
from tests.data.qa.written import DROP, MUSIQUE, SQUAD, written


@pytest.fixture
def table(tmp_path: Path, capsys) -> Path:
    """A table of three data sets, with one broken record."""
    files = {"squad": ("s.json", SQUAD), "musique": ("m.jsonl", [MUSIQUE, {"id": "x"}]), "drop": ("d.json", DROP)}  # fmt: skip
    sources = [f"{n}={written(tmp_path / name, content)}" for n, (name, content) in files.items()]
    given = [part for source in sources for part in ("--source", source)]
    out = tmp_path / "out" / "questions.parquet"
    options = ["--per-dataset", "2", "--per-category", "2", "--seed", "3"]
    assert run(["dataset", "build", *given, *options, "--out", str(out)]) == 0
    return out


def test_a_build_tells_what_it_read_what_was_broken_and_what_it_wrote(table: Path, capsys):
    again = table.parent / "again.parquet"
    given = [f"--source=drop={table.parents[1] / 'd.json'}", f"--source=musique={table.parents[1] / 'm.jsonl'}"]  # fmt: skip
    capsys.readouterr()
    assert run(["dataset", "build", *given, "--out", str(again)]) == 0
    told, complained = capsys.readouterr()
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert lines[:2] == ["read 3 questions of drop", "read 1 questions of musique, 1 broken"]
    assert "category drop musique all" in lines
    assert "reasoning_memory 3 3" in lines
    assert "all 3 1 4" in lines
    assert lines[-1] == f"wrote {again}"
    assert "1 record could not be read" in complained
    assert "m.jsonl: line 2: field 'answer' is missing" in complained


def test_the_same_command_writes_the_same_bytes(table: Path):
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    folder = table.parents[1]
    command = ["dataset", "build", "--out", str(table), "--seed", "3", "--per-category", "2"]
    command += ["--per-dataset", "2", "--source", f"drop={folder / 'd.json'}"]
    command += ["--source", f"squad={folder / 's.json'}", "--source", f"musique={folder / 'm.jsonl'}"]  # fmt: skip
    assert run(command) == 0
    assert hashlib.sha256(table.read_bytes()).hexdigest() == digest
    assert [path.name for path in table.parent.iterdir()] == ["questions.parquet"]


def test_show_tells_counts_lengths_and_samples(table: Path, capsys):
    capsys.readouterr()
    assert run(["dataset", "show", str(table)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "category drop musique squad all" in lines
    assert "two_hop 1 1" in lines
    # facts, tokens of context, question and answer, and accepted answers, counted by hand
    assert "musique two_hop 3 14 10 1 2" in lines
    assert "musique two_hop: musique-2hop__1_2" in lines
    assert "answers Osk | the Osk" in lines


def test_json_is_one_object(table: Path, capsys):
    capsys.readouterr()
    assert run(["dataset", "show", str(table), "--json", "--samples", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {
        "drop": {"reasoning_memory": 2},
        "musique": {"two_hop": 1},
        "squad": {"simple_recall": 1, "none": 1},
    }
    assert (told["questions"], told["broken"]) == (5, 0)
    drop = told["groups"][0]
    assert (drop["dataset"], drop["questions"], len(drop["samples"])) == ("drop", 2, 2)
    assert drop["medians"]["facts"] == 1
    out = str(table.parent / "b.parquet")
    source = f"drop={table.parents[1] / 'd.json'}"
    assert run(["dataset", "build", "--source", source, "--out", out, "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["sources"] == [{"dataset": "drop", "questions": 3, "broken": 0}]
    assert (built["out"], built["questions"]) == (out, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--out", "{}/q.parquet"], "there are no sources"),
        (["build", "--source", "nq", "--out", "{}/q.parquet"], "'nq' is no source"),
        (["build", "--source", "nq=no.jsonl", "--out", "{}/q.parquet"], "there is no question set"),
        (
            ["build", "--source", "nq=x", "--per-dataset", "0", "--out", "q"],
            "greater than or equal",
        ),
        (["build", "--source", "nq=x", "--out", "{}"], "it is a folder; name a file"),
        (["show", "no.parquet"], "cannot read the questions in no.parquet"),
        (["show", "no.parquet", "--samples", "-1"], "--samples is -1; give 0"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys
):
    given = [argument.format(tmp_path) for argument in arguments]
    assert run(["dataset", *given]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_a_source_is_read_is_one_sentence_and_leaves_nothing(tmp_path: Path, capsys):
    source = tmp_path / "nq.jsonl"
    os.mkfifo(source)

    def interrupt() -> None:
        with source.open("w"):  # waits until the command reads it
            # To the thread that reads: another one may come to a signal for all when the pipe has long ended.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    out = tmp_path / "new" / "q.parquet"
    assert run(["dataset", "build", "--source", f"nq={source}", "--out", str(out)]) == 130
    assert capsys.readouterr() == ("", "mambascope: interrupted\n")
    assert list(tmp_path.iterdir()) == [source]


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path, capsys, caplog, monkeypatch):
    def retry(*_: object, **__: object) -> None:
        logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 8s [Retry 5/5].")
        raise ConnectionError("Couldn't reach it")

    logging.set_verbosity_warning()
    monkeypatch.setattr(logging.get_logger("huggingface_hub"), "handlers", [caplog.handler])
    monkeypatch.setattr("datasets.load_dataset", retry)
    out = tmp_path / "q.parquet"
    assert run(["dataset", "build", "--source", "musique=hub", "--out", str(out)]) == 2
    complained = capsys.readouterr().err
    assert complained.startswith("mambascope: the hub's table dgslibisey/MuSiQue:validation could")
    assert complained.count("\n") == 1
    assert not caplog.records
    assert not out.exists()

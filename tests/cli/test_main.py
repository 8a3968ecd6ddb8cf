"""Exit codes and messages of the command as a whole."""

import os
import subprocess
import sys

import pytest

from mambascope import __version__
from mambascope.cli.main import run


def mambascope(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mambascope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trase"],
        ["trace"],
        ["trace", "a prompt"],
        ["trace", "a prompt", "--subject", "a", "--sample", "3"],
        ["trace", "a prompt", "--subject", "a", "--samples", "many"],
        ["models", "extra"],
        ["--verbose"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().out == ""


def test_help_names_every_command():
    told = mambascope("--help")
    assert told.returncode == 0
    assert all(name in told.stdout for name in ("trace", "models", "train"))


def test_help_of_trace_explains_every_option():
    told = mambascope("trace", "--help").stdout
    for option in ("subject", "answer", "model", "site", "window", "samples", "noise", "seed"):
        assert f"--{option}" in told
    assert "The site that is exchanged" in told


def test_version_is_the_packages(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"mambascope {__version__}\n"


def test_an_interruption_exits_with_130(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mambascope.models.load.load", interrupt)
    assert run(["trace", "The capital of France is", "--subject", "France"]) == 130
    assert capsys.readouterr().err == "mambascope: interrupted\n"


def test_an_interrupt_while_the_commands_are_read_is_one_line():
    code = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "mambascope.cli.trace":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from mambascope.__main__ import main
main()
"""
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (left.returncode, left.stderr) == (130, "mambascope: interrupted\n")


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mambascope", "--version"]
    left = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert left.stderr == ""
    assert left.returncode == 0


def test_a_missing_training_configuration_is_one_line(capsys):
    assert run(["train", "--config", "/no/such/file.yaml"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("mambascope: ")
    assert "/no/such/file.yaml" in printed
    assert printed.count("\n") == 1

"""The house: what the project says of itself holds, and what must stay light stays light."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import mambascope

ROOT = Path(__file__).parents[1]
EXPORTS = [
    "CheckpointError",
    "ConfigError",
    "Cut",
    "DataError",
    "Edit",
    "LanguageModel",
    "MambascopeError",
    "ModelError",
    "OutputError",
    "PromptError",
    "Site",
    "SiteError",
    "__version__",
    "attribute",
    "effective_attention",
    "half_life_spectrum",
    "knockout",
    "ledger",
    "load",
    "open_results",
    "retention",
    "trace",
]
HEAVY = {"torch", "transformers", "numba", "xarray", "matplotlib", "plotly", "pyarrow"}


def tracked_texts() -> list[Path]:
    """The text files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    binary = {".gz", ".png", ".safetensors", ".parquet"}
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix not in binary]


def imported_by(code: str) -> set[str]:
    """The top-level packages that running `code` in a fresh interpreter imports."""
    code = f"{code}\nimport sys; print('|'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split("\n")[-2].split("|")}


def test_the_public_names_are_these():
    assert sorted(mambascope.__all__) == EXPORTS
    assert all(getattr(mambascope, name) is not None for name in EXPORTS)
    assert set(EXPORTS) <= set(dir(mambascope))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trase'"):
        _ = mambascope.trase


def test_importing_the_package_and_building_the_command_line_loads_nothing_heavy():
    assert not imported_by("import mambascope") & HEAVY
    assert not imported_by("import mambascope.cli.main") & HEAVY


def test_results_and_figures_do_without_torch():
    code = "import mambascope.results, mambascope.plots.trace, mambascope.plots.trace_page"
    assert not imported_by(code) & {"torch", "transformers"}


def test_help_takes_under_a_second_of_computing():
    command = [sys.executable, "-m", "mambascope", "--help"]
    subprocess.run(command, capture_output=True, check=True)  # the first run compiles
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1.0


def test_every_make_command_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"(?:`|^ {4}|^)make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, f"{page.name} names make {named - targets}"
    assert {"demo", "test", "check", "bench"} <= targets


def test_every_option_of_the_command_in_the_documents_exists():
    known: dict[str, str] = {}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in re.findall(r"^ *mambascope (.*)$", page.read_text(), re.MULTILINE):
            name, *rest = line.split()
            told = known[name] if name in known else known.setdefault(name, help_of(name))
            inner = re.search(r"\{([a-z,]+)\}\s*$", told.splitlines()[0])
            if inner and not name.startswith("-"):
                assert rest and rest[0] in inner[1].split(","), f"{page.name}: mambascope {line}"
                name = f"{name} {rest[0]}"
                told = known[name] if name in known else known.setdefault(name, help_of(name))
            for option in re.findall(r"--[a-z][a-z-]*", line):
                assert option in told, f"{page.name}: mambascope {name} {option}"


def help_of(command: str) -> str:
    """What `mambascope command --help` prints."""
    start = [sys.executable, "-m", "mambascope"]
    told = subprocess.run(
        [*start, *command.split(), "--help"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, f"there is no mambascope {command}"
    return told.stdout


def test_links_between_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_constraints_pin_what_the_project_asks_for():
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    project = (ROOT / "pyproject.toml").read_text()
    dependencies = project.split("dependencies = [")[1].split("\n]")[0]
    dev = project.split("dev = [")[1].split("\n]")[0]
    asked = re.findall(r'"([A-Za-z0-9_.-]+)', dependencies + dev)
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in asked} <= pinned


def test_no_file_names_a_place_on_one_machine():
    # Put together here, so that this file does not name them either.
    places = [
        "/" + "work/",
        "/" + "root/",
        "/home/" + "[a-z]",
        "/opt/" + "pypi",
        "/opt/" + "wheels",
    ]
    hosts = [r"https?://[^\s)\"']*" + word for word in ("pypi", "npmjs", r"debian\.org")]
    forbidden = re.compile("|".join([*places, *hosts]))
    for path in tracked_texts():
        found = forbidden.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} names {found and found.group()}"


def test_no_module_is_called_after_nothing():
    names = {path.stem for path in (ROOT / "src").rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "manager", "misc", "common"}


def test_the_environment_of_the_tests_is_offline():
    assert os.environ["HF_HUB_OFFLINE"] == "1"

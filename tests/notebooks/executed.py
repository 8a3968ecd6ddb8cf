"""A notebook run as a reader runs it, and what its cells show."""

import resource
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@dataclass(frozen=True)
class Executed:
    """A notebook after its last cell: the folder that it ran in, and the seconds that it computed."""

    notebook: nbformat.NotebookNode
    folder: Path
    seconds: float

    def outputs(self, word: str) -> list[nbformat.NotebookNode]:
        """The outputs of the one cell whose source has the word."""
        (cell,) = [c for c in self.notebook.cells if c.cell_type == "code" and word in c.source]
        return cell.outputs

    def text(self, word: str) -> str:
        """What that cell shows as plain text."""
        return "\n".join(
            o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in self.outputs(word)
        )

    def pictures(self, word: str) -> int:
        """How many figures that cell shows."""
        return sum("image/png" in o.get("data", {}) for o in self.outputs(word))


def execute(name: str, folder: Path) -> Executed:
    """Run a notebook of the repository in a folder, apart from the user's settings; raises where a cell does."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(variable, str(folder / variable.lower()))
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        before = _computed()
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    return Executed(notebook, folder, _computed() - before)


def has_outputs(name: str) -> bool:
    """Whether any cell of a notebook is committed with what it showed."""
    cells = nbformat.read(NOTEBOOKS / name, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code, f"{name} has no cell of code"
    return any(cell.outputs or cell.execution_count is not None for cell in code)


def _computed() -> float:
    """Seconds that finished child processes, such as a notebook's kernel, have computed; waiting for others not counted."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

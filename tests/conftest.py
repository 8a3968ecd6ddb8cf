"""What every test runs under: shapes and types checked, no network, caches of its own, its share of the cores."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.type_checks import count_anew, install_type_checks

if TYPE_CHECKING:
    import xarray as xr

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="mambascope-tests-")
install_type_checks()


@pytest.fixture(autouse=True)
def _type_checks() -> None:
    """The first calls of every function in each test are checked."""
    count_anew()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data sets; skips where there is none (mark such tests `real_data`)."""
    folder = os.environ.get("MAMBASCOPE_REAL_DATA")
    if not folder:
        pytest.skip("MAMBASCOPE_REAL_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture
def trace_result() -> "Callable[..., xr.Dataset]":
    """Makes a trace of given size without a model: the score of (layer, position) is layer + position / 100, scaled."""
    import numpy as np
    import xarray as xr

    def make(n_layers: int = 12, tokens: tuple[str, ...] = TOKENS, **attrs: object) -> xr.Dataset:
        score = np.add.outer(np.arange(n_layers), np.arange(len(tokens)) / 100.0)
        roles = ["before", *["after"] * (len(tokens) - 3), "subject_last", "last"]
        return xr.Dataset(
            {"score": (("layer", "position"), 0.1 + 0.8 * score / score.max())},
            coords={
                "layer": np.arange(n_layers),
                "position": np.arange(len(tokens)),
                "token": ("position", list(tokens)),
                "role": ("position", roles),
            },
            attrs={**ATTRS, **attrs},
        )

    return make


TOKENS = ("The", " capital", " of", " France", " is")
ATTRS = {
    "method": "trace",
    "direction": "restore",
    "prompt": "The capital of France is",
    "answer": " Paris",
    "answer_id": 7,
    "top_answer": " Paris",
    "clean_score": 0.95,
    "corrupted_score": 0.1,
    "site": "resid_post",
    "window": 1,
    "model": "atlas-mamba1",
}

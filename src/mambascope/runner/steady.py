"""The same arithmetic everywhere: how many threads share a sum, and whose matrix product it is, must not depend on the run.

Otherwise rounding would: PyTorch and Numba split sums among their threads, and mambascope's products measure in each process
which library is faster (models/kernels/linear.py).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

LINEAR = "MAMBASCOPE_LINEAR"


def linear_choice() -> str:
    """Whose matrix products a sweep uses: the fastest with packed weights, unless the environment says otherwise."""
    from mambascope.models.kernels import fastest_packing

    return os.environ.get(LINEAR) or fastest_packing()


@contextmanager
def steady(linear: str) -> Iterator[None]:
    """One thread, these matrix products, full float32 precision; all as before afterwards."""
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    before = os.environ.get(LINEAR)
    torch.set_num_threads(1)  # Numba's kernels follow it
    torch.set_float32_matmul_precision("highest")
    os.environ[LINEAR] = linear
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        os.environ.pop(LINEAR)
        if before is not None:
            os.environ[LINEAR] = before

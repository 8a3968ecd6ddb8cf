"""How every kernel is compiled: cached on disk where a folder can be written, in memory otherwise.

Numba notices a change of the file that a kernel is in, not of what the kernel calls, so a cache made from other sources
than these is dropped when this module is imported. Threads follow `torch.get_num_threads()`.
"""

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import torch


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel whose `numba.prange` loops run in parallel."""
    return _compile(function, parallel=True)


def sequence(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that calls kernels one after the other, or makes the arrays that they take."""
    return _compile(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that becomes part of the kernels that call it.

    It makes and returns no array, copies none to another by slices, and calls no kernel. So nobody needs to count who holds its
    arrays, which costs ten nanoseconds a call.
    """
    return _compile(function, forceinline=True, _nrt=False)


def _compile(function: Callable[..., Any], **options: bool) -> Callable[..., Any]:
    function = inspect.unwrap(function)  # a run-time type checker's wrapper cannot be compiled
    compiler: Any = numba.njit
    try:
        return compiler(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written
        return compiler(**options)(function)


def use_torch_threads() -> None:
    """Let the next kernels run on as many threads as PyTorch uses."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore
    if torch.get_num_threads() != threads:  # starting Numba's pool resets OpenMP's number for all
        torch.set_num_threads(threads)


def drop_stale_cache(folder: Path) -> None:
    """Delete the compiled kernels of a folder of sources if they were made from other sources."""
    sources = sorted(folder.glob("*.py"))
    now = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = folder / "__pycache__" / "kernels.sha256"
    with suppress(OSError):  # where nothing can be written there is no cache beside the sources
        if not stamp.exists() or stamp.read_text() != now:
            for index in stamp.parent.glob("*.nbi"):
                index.unlink(missing_ok=True)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(now)


drop_stale_cache(Path(__file__).parent)

"""Whether this process can use a processor's bfloat16 matrix unit (Intel's AMX, on Linux)."""

import os
import platform
from functools import cache

import torch


@cache
def has_matrix_unit() -> bool:
    """True if the processor has the unit, the compiler of the kernels writes for it, and the system lets this process use it.

    Without leave of the system, which has to be asked for once, the first instruction would end the process.
    """
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return False
    if any(os.environ.get(name) for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")):
        return False  # kernels are compiled for another processor
    from llvmlite import binding

    if not binding.get_host_cpu_features().get("amx-bf16", False):
        return False
    try:
        return bool(torch.cpu._init_amx())
    except (AttributeError, RuntimeError):
        return False

"""What the findings share: running one sweep, and an effect in words."""

import shlex
import subprocess
import sys
from pathlib import Path

import xarray as xr


def run(arguments: list[str], workers: int) -> None:
    """One sweep; costs nothing where it is finished."""
    program = Path(sys.executable).with_name("mambascope")
    command = [program, *arguments, "--workers", str(workers)]
    print(f"mambascope {shlex.join(arguments)}", file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def interval(cell: xr.Dataset, before: str = "", digits: int = 3) -> str:
    """An effect with its interval."""
    effect, low, high = (float(cell[f"{before}{part}"]) for part in ("effect", "low", "high"))
    return f"{effect:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

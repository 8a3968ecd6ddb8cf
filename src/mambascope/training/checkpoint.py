"""Checkpoints of a training run: folders `step-000500`, complete or not there at all."""

import re
import shutil
from pathlib import Path

from accelerate import Accelerator

KEEP = 2


def latest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """The newest complete checkpoint and its step."""
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := re.fullmatch(r"step-(\d+)", path.name))
    ]
    return max(found, default=None)


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Write the whole training state; it gets its name only when it is complete, then old ones go."""
    partial = folder / "partial"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        partial.rename(folder / f"step-{step:06d}")
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old)

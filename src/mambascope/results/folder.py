"""A result's folder: whether it may be written to, and writing several files so that none is ever half there.

Each file is written under a temporary name beside its place and moved there when all are complete.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mambascope.errors import OutputError
from mambascope.results.manifest import from_json

MANIFEST = "manifest.json"
TABLE = "result.parquet"


def check_folder(folder: Path, method: str) -> None:
    """OutputError unless results of this method can be written to the folder, which need not exist yet.

    An existing folder must be empty or hold an earlier result of the same method, which writing replaces.
    Leaves nothing behind.
    """
    _check_writable(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise OutputError(
            f"{folder} holds other files and no result; name an empty folder, or one that is not there yet"
        )
    found = _method_of(folder / MANIFEST)
    if found != method:
        raise OutputError(
            f"{folder} holds a result of {found!r}, which one of {method!r} would overwrite; name another folder"
        )


def check_file(path: Path) -> None:
    """OutputError unless a file can be written at this path; leaves nothing behind."""
    if path.is_dir():
        raise OutputError(f"cannot write to {path}: it is a folder; name a file")
    _check_writable(path.parent)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write the files into the folder, all or none; returns their paths. OutputError if that fails."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    temporary: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary[folder / name] = _write_beside(folder / name, content)
        for path, written in temporary.items():
            written.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {_reason(error)}") from error
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)
        for place in new:
            with suppress(OSError):  # one that holds the files stays
                place.rmdir()
    return list(temporary)


def _check_writable(folder: Path) -> None:
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise OutputError(f"cannot write to {folder}: {nearest} is a file")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {_reason(error)}") from error


def _method_of(path: Path) -> str | None:
    try:
        return from_json(path.read_bytes()).get("method")
    except OSError as error:
        raise OutputError(f"cannot read {path}: {_reason(error)}") from error
    except OutputError as error:
        raise OutputError(f"{path} belongs to no result ({error}); name another folder") from error


def _write_beside(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o666 & ~_umask())
    except BaseException:  # Ctrl-C among them
        written.unlink(missing_ok=True)
        raise
    return written


def _umask() -> int:
    """The permissions that new files do without (mkstemp gives none to others, unlike an ordinary file)."""
    current = os.umask(0)
    os.umask(current)
    return current


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

"""Named tensors read one at a time: from safetensors, from pickled .bin files, or from a model in memory.

Every source gives the shapes of all its tensors before reading any, and hands out each tensor once, as the caller's
own: no copy of the weights is ever held beside the model that is being built.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mambascope.errors import CheckpointError

SAFETENSORS_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    is_float: bool


@runtime_checkable
class TensorSource(Protocol):
    """Tensors by name, in the order in which they are best read."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Names and shapes."""
        ...

    def take(self, name: str) -> Tensor:
        """A tensor that nobody else holds. Each can be taken once."""
        ...


class SafetensorsSource:
    """One or several safetensors files.

    A file is opened anew for each tensor: as long as it is open, the parts that were read stay mapped into memory.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.specs: dict[str, TensorSpec] = {}
        self._path_of: dict[str, Path] = {}
        for path in paths:
            with _open_safetensors(path) as file:
                for name in file.keys():  # noqa: SIM118 (it is no dict)
                    piece = file.get_slice(name)
                    is_float = piece.get_dtype() in SAFETENSORS_FLOATS
                    self.specs[name] = TensorSpec(tuple(piece.get_shape()), is_float)
                    self._path_of[name] = path

    def take(self, name: str) -> Tensor:
        """See TensorSource."""
        with _open_safetensors(self._path_of[name]) as file:
            return file.get_tensor(name).clone()


class BinSource:
    """One or several files written by torch.save, read without running what a pickle may hold.

    Shapes come from a first pass on the meta device, which reads no weights; then one file at a time is in memory.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.specs: dict[str, TensorSpec] = {}
        self._path_of: dict[str, Path] = {}
        self._open: dict[str, Tensor] = {}
        for path in paths:
            for name, tensor in _load_bin(path, "meta").items():
                self.specs[name] = TensorSpec(tuple(tensor.shape), tensor.is_floating_point())
                self._path_of[name] = path

    def take(self, name: str) -> Tensor:
        """See TensorSource."""
        if name not in self._open:
            self._open.clear()
            self._open.update(_load_bin(self._path_of[name], "cpu"))
        return self._open.pop(name)


class MemorySource:
    """The state dict of a model in memory; `keep` leaves that model its own tensors."""

    def __init__(self, tensors: dict[str, Tensor], keep: bool) -> None:
        self._tensors = tensors
        self._keep = keep
        self.specs = {
            name: TensorSpec(tuple(tensor.shape), tensor.is_floating_point())
            for name, tensor in tensors.items()
        }
        absent = [name for name, tensor in tensors.items() if tensor.is_meta]
        if absent:
            raise CheckpointError(
                f"the model's weights are not in memory ({absent[0]} is on the meta device); "
                "load it without offloading"
            )

    def take(self, name: str) -> Tensor:
        """See TensorSource."""
        tensor = self._tensors.pop(name).detach()
        return tensor.clone() if self._keep else tensor


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged or cut short ({error}); copy or download it again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error


def _load_bin(path: Path, device: str) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was not opened, because it is damaged or holds more than tensors, which could run code; "
            "ask for safetensors, or save it again with torch.save(model.state_dict(), ...)"
        ) from error
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged pickle fails in any way at all
        raise CheckpointError(
            f"{path} is damaged or cut short; copy or download it again"
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise CheckpointError(
            f"{path} does not hold tensors by name; save it again with "
            "torch.save(model.state_dict(), ...)"
        )
    return found

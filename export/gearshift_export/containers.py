"""Files that hold an M3ViT state dict: one file, or a folder of `{rank}.pth` shards.

Nothing is unpickled but tensors, numbers, texts and their containers. Tensors are mapped from the
file where its format allows, so that reading costs no second copy.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gearshift.errors import CheckpointError

StateDict = dict[str, Tensor]

EXPERT_KEY = re.compile(r"mlp\.experts\.(htoh4|h4toh)\.")


class _Ignored:
    """Stands for what training leaves beside the weights: metrics in numpy, the command line."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_STAND_INS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (_Ignored, name)
    for name in (
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
        "argparse.Namespace",
    )
]


def read_container(path: Path) -> StateDict:
    """The state dict in `path`, shards joined, keys without `module.`.

    Raises:
        CheckpointError: no such path, a damaged file, a file that holds code, an entry that is no
            tensor, or shards that do not fit together.
    """
    if path.is_dir():
        return _join_shards(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: no such file or folder")
    return _read_file(path)


def _join_shards(folder: Path) -> StateDict:
    """0.pth and its experts, each followed by those of the later ranks (fastmoe's order)."""
    files = _shard_files(folder)
    state = _read_file(files[0])
    experts = sorted(key for key in state if EXPERT_KEY.search(key))
    parts = {key: [state[key]] for key in experts}
    for file in files[1:]:
        shard = _read_file(file)
        if odd := sorted(set(shard) ^ set(experts)):
            fault = "is missing" if odd[0] in parts else "is not a tensor of the experts"
            raise CheckpointError(f"checkpoint {file}: {odd[0]} {fault} ({len(odd)} such keys)")
        for key in experts:
            if shard[key].shape != parts[key][0].shape:
                raise CheckpointError(
                    f"checkpoint {file}: {key} has shape {tuple(shard[key].shape)}, "
                    f"expected {tuple(parts[key][0].shape)} as in 0.pth: ranks hold equal shares"
                )
            parts[key].append(shard[key])
    return state | {key: torch.cat(tensors) for key, tensors in parts.items()}


def _shard_files(folder: Path) -> list[Path]:
    """0.pth, 1.pth, ... without a gap."""
    found = sorted(folder.glob("*.pth"))
    if not found:
        raise CheckpointError(f"checkpoint {folder}: holds no shards, expected 0.pth, 1.pth, ...")
    files = [folder / f"{rank}.pth" for rank in range(len(found))]
    if odd := sorted(set(found) - set(files)):
        lacking = sorted(set(files) - set(found))
        raise CheckpointError(
            f"checkpoint {folder}: {lacking[0].name} is missing, or {odd[0].name} is no shard; "
            f"expected 0.pth to {len(found) - 1}.pth"
        )
    return files


def _read_file(path: Path) -> StateDict:
    content = _load(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f"checkpoint {path}: holds a {type(content).__name__} without tensors, "
            "expected a state dict or a dict with one under 'state_dict'"
        )
    result: StateDict = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"checkpoint {path}: {key!r} is a {type(value).__name__}, expected a tensor; "
                "expected a state dict or a dict with one under 'state_dict'"
            )
        name = re.sub(r"^(module\.)+", "", key)
        if name in result:
            raise CheckpointError(f"checkpoint {path}: {name} occurs twice, once as {key}")
        _check_storage(path, key, value)
        result[name] = value.detach()
    return result


def _load(path: Path) -> Any:
    # Only the zip format, torch's since 1.6, can be mapped.
    mapped = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever is wrong ends in one error
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks for the Python object {found[1]}" if found else "is damaged or holds code"
        raise CheckpointError(
            f"checkpoint {path}: {what}, which is never loaded: save the state dict alone"
        ) from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {error}") from None
    except Exception as error:  # torch raises most built-in kinds for a file that is no checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint {path}: is no PyTorch checkpoint: {reason}") from None


def _check_storage(path: Path, key: str, tensor: Tensor) -> None:
    """A few bytes must not pose as a huge tensor by way of strides."""
    dense = tensor.layout is torch.strided and not tensor.is_quantized
    if not dense or tensor.device.type != "cpu":
        raise CheckpointError(f"checkpoint {path}: {key} is not a plain dense tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"checkpoint {path}: {key} of shape {tuple(tensor.shape)} has only "
            f"{tensor.untyped_storage().nbytes()} bytes behind it"
        )

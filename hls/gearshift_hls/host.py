"""What the host does around a run: a picture into patches, the result into floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.bundle import TaskProgram
from gearshift_hls.operations import PatchInput


def pack_picture(image: NDArray[np.float32], program: TaskProgram) -> NDArray[np.uint8]:
    """A normalised picture (3, H, W) -> uint8 patches (T, C), as `PatchInput` says."""
    tokens, channels = program.input_place.tensor.shape
    return pack_patches(image, program.input, tokens, channels)


def pack_patches(
    image: NDArray[np.float32], given: PatchInput, tokens: int, channels: int
) -> NDArray[np.uint8]:
    """The same before there is a program."""
    patch = given.patch_size
    low, scale = (np.array(values)[:, None, None] for values in (given.low, given.scale))
    pixels = np.clip(np.rint((image - low) * scale), 0, 255).astype(np.uint8)
    _, height, width = image.shape
    grid = pixels.reshape(3, height // patch, patch, width // patch, patch)
    patches = grid.transpose(1, 3, 0, 2, 4).reshape(tokens - 1, 3 * patch**2)
    packed = np.zeros((tokens, channels), np.uint8)
    packed[1:, : patches.shape[1]] = patches
    return packed


def unpack_result(data: NDArray[np.uint8], program: TaskProgram) -> NDArray[np.float32]:
    """The bytes of the output tensor -> a map (C, H, W), or tokens (T, D)."""
    place, output = program.output_place.tensor, program.output
    values = data.view(place.dtype).reshape(place.shape)[..., : output.channels]
    result = (values * output.scale).astype(np.float32)
    if len(place.shape) == 2:
        return result
    return np.ascontiguousarray(result.transpose(2, 0, 1))

"""The arguments of the native kernels, as `kernels/native/interface.h` declares them.

Every pointer is an address as an int (0 or None is null); the caller keeps what it points to alive.
A float pointer is to float32 in C order, aligned to 64 bytes where a row begins.
"""

from __future__ import annotations

from ctypes import Structure, c_double, c_int64, c_void_p

FLOAT32, BFLOAT16, INT8 = range(3)
"""Precisions of products. Operands between kernels are float32 in float32, else bfloat16."""


class Weight(Structure):
    """W (outputs, inputs) of a product x W^T; see `gearshift_kernels.native.pack`."""

    _fields_ = (
        ("panels", c_void_p),
        ("scale", c_void_p),
        ("correction", c_void_p),
        ("outputs", c_int64),
        ("inputs", c_int64),
    )


class Norm(Structure):
    """A layer normalisation before a kernel; `scale` null means none."""

    _fields_ = (("scale", c_void_p), ("bias", c_void_p), ("epsilon", c_double))


class Linear(Structure):
    """out = residual + gelu(norm(x) W^T + bias); strides in elements."""

    KERNEL = 0
    _fields_ = (
        ("weight", Weight),
        ("norm", Norm),
        ("x", c_void_p),
        ("bias", c_void_p),
        ("residual", c_void_p),
        ("out", c_void_p),
        ("rows", c_int64),
        ("x_stride", c_int64),
        ("out_stride", c_int64),
        ("x_is_float", c_int64),
        ("out_is_float", c_int64),
        ("gelu", c_int64),
    )


class PatchEmbedding(Structure):
    """Patches of image (images,3,height,width) -> tokens (images,tokens,outputs)."""

    KERNEL = 1
    _fields_ = (
        ("weight", Weight),
        ("image", c_void_p),
        ("table", c_void_p),
        ("out", c_void_p),
        ("images", c_int64),
        ("height", c_int64),
        ("width", c_int64),
        ("patch_size", c_int64),
    )


class Attention(Structure):
    """qkv operand (images,tokens,3,heads,head_dim) -> operand (images,tokens,heads,head_dim)."""

    KERNEL = 2
    _fields_ = (
        ("qkv", c_void_p),
        ("out", c_void_p),
        ("images", c_int64),
        ("tokens", c_int64),
        ("heads", c_int64),
        ("head_dim", c_int64),
    )


class LayerNorm(Structure):
    """x (images,tokens,columns) -> (images,tokens-skip,columns), the first `skip` left out."""

    KERNEL = 3
    _fields_ = (
        ("norm", Norm),
        ("x", c_void_p),
        ("out", c_void_p),
        ("images", c_int64),
        ("tokens", c_int64),
        ("columns", c_int64),
        ("skip", c_int64),
        ("out_is_float", c_int64),
    )


class Router(Structure):
    """x (rows,columns) -> index int32 and score (rows,top_k), and the experts' queues.

    weight (columns, experts padded to 16 with zeros), bias (experts padded with minus infinity);
    order int32 (rows*top_k), offsets int32 (experts+1); normalised operand (rows,columns) or null.
    """

    KERNEL = 4
    _fields_ = (
        ("norm", Norm),
        ("x", c_void_p),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("prune_scores", c_double),
        ("index", c_void_p),
        ("score", c_void_p),
        ("order", c_void_p),
        ("offsets", c_void_p),
        ("normalised", c_void_p),
        ("rows", c_int64),
        ("columns", c_int64),
        ("experts", c_int64),
        ("top_k", c_int64),
    )


class Expert(Structure):
    """One expert's weights."""

    _fields_ = (
        ("fc1", Weight),
        ("fc2", Weight),
        ("fc1_bias", c_void_p),
        ("fc2_bias", c_void_p),
    )


class Experts(Structure):
    """answers (rows,top_k,columns) of the experts in `chosen` int64 (null: of all).

    bank is an array of `Expert`; x operand (rows,columns); hidden operand (rows*top_k, hidden
    columns padded to 64 bytes).
    """

    KERNEL = 5
    _fields_ = (
        ("bank", c_void_p),
        ("chosen", c_void_p),
        ("x", c_void_p),
        ("order", c_void_p),
        ("offsets", c_void_p),
        ("score", c_void_p),
        ("hidden", c_void_p),
        ("answers", c_void_p),
        ("experts", c_int64),
        ("chosen_count", c_int64),
        ("top_k", c_int64),
        ("columns", c_int64),
    )


class Combine(Structure):
    """out (rows,columns) = residual + the sum of each row's top_k answers."""

    KERNEL = 6
    _fields_ = (
        ("answers", c_void_p),
        ("residual", c_void_p),
        ("out", c_void_p),
        ("rows", c_int64),
        ("top_k", c_int64),
        ("columns", c_int64),
    )


class Convolution(Structure):
    """x operand (images,height,width,inputs) enlarged by `scale`, 3x3 convolution, ReLU."""

    KERNEL = 7
    _fields_ = (
        ("panels", c_void_p),
        ("bias", c_void_p),
        ("x", c_void_p),
        ("out", c_void_p),
        ("images", c_int64),
        ("height", c_int64),
        ("width", c_int64),
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("scale", c_int64),
    )


class Resize(Structure):
    """x float32, channels last or planar -> out (images,channels,out_height,out_width)."""

    KERNEL = 8
    _fields_ = (
        ("x", c_void_p),
        ("out", c_void_p),
        ("images", c_int64),
        ("channels", c_int64),
        ("height", c_int64),
        ("width", c_int64),
        ("out_height", c_int64),
        ("out_width", c_int64),
        ("channels_last", c_int64),
    )


class Call(Structure):
    """One kernel with its precision and its arguments."""

    _fields_ = (("kernel", c_int64), ("precision", c_int64), ("arguments", c_void_p))


Arguments = (
    Linear
    | PatchEmbedding
    | Attention
    | LayerNorm
    | Router
    | Experts
    | Combine
    | Convolution
    | Resize
)

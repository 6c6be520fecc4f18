"""Peak rates of GPUs, each from its maker's papers.

All rates are dense: data sheets like to print the rate with structured sparsity, which is twice as
high and of no use to dense weights. Sums of 16-bit products are kept in float32; on these cards
that is as fast as keeping them in float16, unlike on GeForce cards of the same chips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EXPONENTIALS_PER_CLOCK = 16
"""Exponentials of a multiprocessor per clock cycle, on compute capability 8.0 to 9.0.

NVIDIA, CUDA C++ Programming Guide, table "Throughput of Native Arithmetic Instructions"; used for
the same purpose by Shah et al., FlashAttention-3 (2024), section 3.1.
"""


@dataclass(frozen=True)
class Machine:
    """One card. Rates in operations a second; a multiply-accumulate is two."""

    name: str
    """As `torch.cuda.get_device_name` says it."""
    target: str
    """What kernels are compiled for."""
    float32: float
    """Outside the tensor cores."""
    tf32: float
    half: float
    """float16 and bfloat16, sums in float32."""
    int8: float
    """Not what int8 runs at here: weights alone are of one byte, and the products are `half`."""
    float8: float | None
    """As int8. None: its tensor cores know no 8-bit float."""
    bandwidth: float
    """Bytes a second from and to memory."""
    l2_bytes: int | None
    multiprocessors: int
    clock: float
    """Cycles a second at which the peaks hold."""
    watts: float
    """The most that the card, or the whole Jetson module, may draw."""
    sources: tuple[str, ...]

    @property
    def exponentials(self) -> float:
        """Exponentials a second."""
        return EXPONENTIALS_PER_CLOCK * self.multiprocessors * self.clock


_A100_PAPER = (
    "NVIDIA A100 Tensor Core GPU Architecture (white paper, 2020), tables of performance and "
    "comparison of data center GPUs"
)
_H100_PAPER = "NVIDIA H100 Tensor Core GPU Architecture (white paper 1.04), tables 1 and 3"

MACHINES: Mapping[str, Machine] = {
    "A100": Machine(
        name="NVIDIA A100-SXM4-80GB",
        target="sm_80",
        float32=19.5e12,
        tf32=156e12,
        half=312e12,
        int8=624e12,
        float8=None,
        bandwidth=2039e9,
        l2_bytes=40 * 2**20,
        multiprocessors=108,
        clock=1410e6,
        watts=400,
        sources=(
            f"{_A100_PAPER}: rates, multiprocessors, clock, L2",
            "NVIDIA A100 80GB data sheet, table of specifications, column SXM: bandwidth, power",
        ),
    ),
    "H100": Machine(
        name="NVIDIA H100 80GB HBM3",
        target="sm_90",
        float32=66.9e12,
        tf32=494.7e12,
        half=989.4e12,
        int8=1978.9e12,
        float8=1978.9e12,
        bandwidth=3350e9,
        l2_bytes=50 * 2**20,
        multiprocessors=132,
        clock=1830e6,
        watts=700,
        sources=(
            f"{_H100_PAPER}, column SXM5: rates (the dense ones), multiprocessors, L2, power",
            "NVIDIA H100 data sheet, column SXM: bandwidth, and the same rates with sparsity",
            "Shah et al., FlashAttention-3, section 3.1: 989 TFLOPS of products, 3.9 T of "
            "exponentials, that is 1.83 GHz",
        ),
    ),
    "H200": Machine(
        name="NVIDIA H200",
        target="sm_90",
        float32=66.9e12,
        tf32=494.7e12,
        half=989.4e12,
        int8=1978.9e12,
        float8=1978.9e12,
        bandwidth=4800e9,
        l2_bytes=None,
        multiprocessors=132,
        clock=1830e6,
        watts=700,
        sources=(
            "NVIDIA H200 data sheet, column SXM: bandwidth, power, and the rates of the H100 SXM "
            "in every precision",
            f"{_H100_PAPER}: these rates with one more digit, and the multiprocessors and the "
            "clock that give them",
        ),
    ),
    "A6000": Machine(
        name="NVIDIA RTX A6000",
        target="sm_86",
        float32=38.7e12,
        tf32=77.4e12,
        half=154.8e12,
        int8=309.7e12,
        float8=None,
        bandwidth=768e9,
        l2_bytes=6 * 2**20,
        multiprocessors=84,
        clock=1800e6,
        watts=300,
        sources=(
            "NVIDIA Ampere GA102 GPU Architecture (white paper 2.0), table 3, column RTX A6000: "
            "rates (the dense ones, sums in float32), multiprocessors, clock, L2, bandwidth",
            "NVIDIA RTX A6000 data sheet: power, and 309.7 TFLOPS with sparsity",
        ),
    ),
    "Orin": Machine(
        name="Orin",
        target="sm_87",
        float32=5.3e12,
        tf32=21.25e12,
        half=42.5e12,
        int8=85e12,
        float8=None,
        bandwidth=204.8e9,
        l2_bytes=4 * 2**20,
        multiprocessors=16,
        clock=1300e6,
        watts=60,
        sources=(
            "NVIDIA Jetson AGX Orin Series technical brief 1.2, page 5, module of 64 GB: 170 "
            "sparse INT8 TOPS of the GPU alone (85 dense), float32, multiprocessors, L2",
            "NVIDIA Jetson AGX Orin Series data sheet DS-10662-001 1.8, pages 7, 9 and 12: clock, "
            "power, bandwidth",
            f"{_A100_PAPER}: int8, half and tf32 are as 4 to 2 to 1 on this generation of tensor "
            "cores; NVIDIA prints no half or tf32 rate of Orin, these two are worked out from int8",
        ),
    ),
}
"""By the name that the command line takes."""


def find_machine(device_name: str, multiprocessors: int) -> Machine | None:
    """The machine of a card; None for one that is not in the table.

    The name alone is not enough: every Jetson Orin calls itself "Orin".
    """
    for machine in MACHINES.values():
        if (machine.name, machine.multiprocessors) == (device_name, multiprocessors):
            return machine
    return None

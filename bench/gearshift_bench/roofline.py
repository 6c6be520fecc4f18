"""How long a program must take on a card, from its peak rates: a prediction, not a measurement.

The roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009), one launch at a time: a
launch takes as long as the slowest of its matrix products, its exponentials and its bytes takes at
the machine's peak rate, as if the other two hid behind it. Between launches there is a gap.

What it counts:

- Matrix products: two operations a multiply-accumulate, nothing for padding.
- Exponentials of softmax: one for every score.
- Bytes: every input, output and weight of a launch crosses to or from memory once, in the dtype
  that the kernels keep it in; the residual stream is float32.
- Experts: the weights of as many experts as the tokens could choose at most,
  min(experts, tokens * top_k); the products are those of the chosen experts only.

What it leaves out: partly filled waves and tiles, operands that are read more than once, the
arithmetic of norms and GELU and the moves of a pipeline that starts and drains. Those make a card
slower than predicted. Data that is still in the L2 cache, such as small activations, makes it
faster than its bytes say. All experts are resident: nothing comes from host memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from gearshift_bench.machines import Machine

if TYPE_CHECKING:
    from gearshift.backends import Precision
    from gearshift.backends.lowering import Lowering
    from gearshift.program import Program, Step

LAUNCH_GAP = 1.3e-6
"""Seconds from one launch to the next inside a CUDA graph.

Measured on an H100 with empty kernels by Spector et al., "Look Ma, No Bubbles! Designing a
Low-Latency Megakernel for Llama-1B" (Hazy Research, 27 May 2025); taken for every card, for want of
a figure of its own.
"""

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "float8": 1, "int32": 4}

PRODUCTS_OF_FLOAT32 = 3
"""tf32 products that stand for one of float32: see `Device.product_precision`."""


@dataclass(frozen=True)
class Work:
    """The least that one step of a lowered program asks of a card."""

    node: str
    kernel: str
    flops: int
    """Of matrix products."""
    exponentials: int
    nbytes: int
    is_exact: bool
    """The products are those of the router: float32 outside the tensor cores in any precision."""

    def seconds(self, machine: Machine, precision: Precision) -> Mapping[str, float]:
        """What each of the three takes on its own."""
        rate = machine.half
        if self.is_exact:
            rate = machine.float32
        elif precision == "float32":
            rate = machine.tf32 / PRODUCTS_OF_FLOAT32
        return {
            "compute": self.flops / rate,
            "exponentials": self.exponentials / machine.exponentials,
            "memory": self.nbytes / machine.bandwidth,
        }

    def bound(self, machine: Machine, precision: Precision) -> tuple[str, float]:
        """The slowest of the three, and its seconds."""
        seconds = self.seconds(machine, precision)
        slowest = max(seconds, key=seconds.__getitem__)
        return slowest, seconds[slowest]


@dataclass(frozen=True)
class Prediction:
    """One run of a program on one machine."""

    seconds_by_bound: Mapping[str, float]
    """Of the launches that compute, exponentials or memory hold back."""
    launches: int

    @property
    def roof_seconds(self) -> float:
        """Without the gaps between launches."""
        return sum(self.seconds_by_bound.values())

    @property
    def gap_seconds(self) -> float:
        return self.launches * LAUNCH_GAP

    @property
    def seconds(self) -> float:
        return self.roof_seconds + self.gap_seconds


def predict(
    works: Sequence[Work], machine: Machine, precision: Precision, launches: int
) -> Prediction:
    """The sum over the steps, and a gap for each of the `launches`."""
    seconds = {"compute": 0.0, "exponentials": 0.0, "memory": 0.0}
    for work in works:
        bound, least = work.bound(machine, precision)
        seconds[bound] += least
    return Prediction(seconds, launches)


def program_work(program: Program, precision: Precision) -> list[Work]:
    """The work of every step of a program as the GPU kernels run it.

    int8 and float8 are kept in one byte and multiplied as bfloat16.

    Raises:
        BackendError: a part of the program that no GPU kernel computes.
    """
    from gearshift.backends.lowering import UnsupportedError, lower
    from gearshift.errors import BackendError

    dtype = "bfloat16" if ITEM_BYTES[precision] == 1 else precision
    try:
        lowering = lower(program, dtype)
    except UnsupportedError as reason:
        raise BackendError(f"the GPU kernels do not run this program: {reason}") from None
    return [_Sizes(program, lowering, precision, step).work() for step in lowering.steps]


def count_launches(program: Program, target: str, precision: Precision) -> int:
    """How many launches one run of the program is on `target`; needs no GPU.

    Raises:
        BackendError: Triton is not installed, or no GPU kernel computes a part of the program.
    """
    from gearshift.backends.lowering import UnsupportedError
    from gearshift.errors import BackendError

    try:
        from gearshift.backends.triton_plan import plan_launches

        return len(plan_launches(program, target, precision))
    except ModuleNotFoundError as error:
        raise BackendError(
            f"counting launches needs the package {error.name}: pip install 'gearshift[gpu]'"
        ) from None
    except UnsupportedError as reason:
        raise BackendError(f"the GPU kernels do not run this program: {reason}") from None


@dataclass(frozen=True)
class _Sizes:
    """One step, and what is known of its values and weights."""

    program: Program
    lowering: Lowering
    precision: Precision
    step: Step

    def work(self) -> Work:
        flops, exponentials = _ARITHMETIC[self.step.kernel](self)
        return Work(
            self.step.name,
            self.step.kernel,
            flops,
            exponentials,
            self.value_bytes() + self.weight_bytes(),
            is_exact=self.step.kernel == "router",
        )

    def shape(self, name: str) -> tuple[int, ...]:
        return self.lowering.values[name].shape

    @property
    def input(self) -> tuple[int, ...]:
        """The last input: before it there may be a residual."""
        return self.shape(self.step.inputs[-1])

    @property
    def output(self) -> tuple[int, ...]:
        return self.shape(self.step.outputs[0])

    def value_bytes(self) -> int:
        inputs = self.step.inputs
        if self.step.kernel == "expert_fc2":
            # It names the tokens as well, so that they stay in memory, but does not read them.
            inputs = inputs[:4]
        # A router's counts have room for more rows than it writes; they are next to nothing.
        return sum(
            prod(self.shape(name)) * ITEM_BYTES[self.lowering.values[name].dtype]
            for name in (*inputs, *self.step.outputs)
            if not name.endswith(".counts")
        )

    def weight_bytes(self) -> int:
        kernel, names = self.step.kernel, self.step.weights
        if kernel in ("expert_fc1", "expert_fc2"):
            first = 0 if kernel == "expert_fc1" else 2
            return self.chosen_experts() * (
                self.product_bytes(names[first]) + self.exact_bytes(names[first + 1])
            )
        if kernel in ("router", "layer_norm", "attention") or not names:
            return sum(map(self.exact_bytes, names))
        product, *exact = names
        return self.product_bytes(product) + sum(map(self.exact_bytes, exact))

    def chosen_experts(self) -> int:
        experts = len(self.step.weights) // 4
        return min(experts, self.choices())

    def choices(self) -> int:
        """Tokens x top_k."""
        order = next(name for name in self.step.inputs if name.endswith(".order"))
        return prod(self.shape(order))

    def exact_bytes(self, name: str) -> int:
        return ITEM_BYTES["float32"] * prod(self.program.weights[name].shape)

    def product_bytes(self, name: str) -> int:
        """Of a weight in the precision of the run, with the scales of one-byte weights."""
        rows, *rest = self.program.weights[name].shape
        columns = prod(rest)
        if self.step.kernel == "upsample_conv" and self.step.attributes["scale"] == 2:
            # Four phases of sixteen taps: see `gearshift_kernels.polyphase`.
            rows, columns = 4 * rows, columns // 9 * 16
        item = ITEM_BYTES[self.precision]
        scales = ITEM_BYTES["float32"] * rows if item == 1 else 0
        return rows * columns * item + scales


Arithmetic = tuple[int, int]
"""Operations of the matrix products, exponentials."""


def _patch_embedding(sizes: _Sizes) -> Arithmetic:
    batch, tokens, width = sizes.output
    patch = int(sizes.step.attributes["patch_size"])
    return 2 * batch * (tokens - 1) * width * 3 * patch**2, 0


def _linear(sizes: _Sizes) -> Arithmetic:
    return 2 * prod(sizes.output) * sizes.input[-1], 0


def _attention(sizes: _Sizes) -> Arithmetic:
    batch, tokens, width = sizes.output
    heads = int(sizes.step.attributes["heads"])
    return 2 * 2 * batch * tokens**2 * width, batch * heads * tokens**2


def _router(sizes: _Sizes) -> Arithmetic:
    width, experts = sizes.program.weights[sizes.step.weights[0]].shape
    tokens = prod(sizes.input[:-1])
    return 2 * tokens * width * experts, tokens * experts


def _expert(sizes: _Sizes) -> Arithmetic:
    hidden, width = sizes.program.weights[sizes.step.weights[0]].shape
    return 2 * sizes.choices() * width * hidden, 0


def _upsample_conv(sizes: _Sizes) -> Arithmetic:
    return 2 * prod(sizes.output) * 9 * sizes.input[-1], 0


def _no_products(sizes: _Sizes) -> Arithmetic:
    return 0, 0


_ARITHMETIC: Mapping[str, Callable[[_Sizes], Arithmetic]] = {
    "patch_embedding": _patch_embedding,
    "linear": _linear,
    "linear_add": _linear,
    "attention": _attention,
    "layer_norm": _no_products,
    "router": _router,
    "expert_fc1": _expert,
    "expert_fc2": _expert,
    "combine": _no_products,
    "combine_add": _no_products,
    "upsample_conv": _upsample_conv,
    "resize_bilinear": _no_products,
}

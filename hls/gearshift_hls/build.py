"""A build of the accelerator: how wide its array is and how much its buffers hold."""

from __future__ import annotations

from dataclasses import dataclass

BEAT_BYTES = 16
"""One transfer of a memory port: 128 bits, the width of a Zynq UltraScale+ HP port."""

CHANNEL_BYTES = 8
"""A channel's parameters in a weight stream: bias int32, multiplier uint16, shift uint8, 0."""


@dataclass(frozen=True)
class Build:
    """What is fixed when a bitstream is made; any model within these limits runs on it.

    All sizes are powers of two but for the buffers, which are multiples of 64 bytes.
    """

    input_lanes: int = 32
    """Input channels of a token that the array multiplies in one cycle."""
    output_lanes: int = 32
    """Output channels that the array computes in one cycle; also a softmax's block of keys."""
    weight_ports: int = 4
    """Memory ports that stream weights side by side, each a share of the output channels."""
    input_bytes: int = 512 << 10
    """Buffer of the tokens or map rows that the array reads; keys and values in attention."""
    hidden_bytes: int = 512 << 10
    """Buffer of an expert's hidden values, one a token of its queue."""
    scratch_bytes: int = 1 << 20
    """On-chip memory for activations, addressed from `descriptor.SCRATCH`."""
    max_tokens: int = 2048
    """Tokens of a routed or attended sequence; partial sums an output channel has room for."""
    max_channels: int = 4096
    """Input or output channels of one product."""
    max_norm_channels: int = 1024
    """Width of a normalised or routed token; the number format of a norm holds for no more."""
    max_experts: int = 64
    max_top_k: int = 8
    max_heads: int = 32
    max_head_dim: int = 128
    max_side: int = 1024
    """Height and width of a map."""

    @property
    def channel_multiple(self) -> int:
        """Channels are padded with zeros to a multiple of this."""
        return max(self.input_lanes, self.output_lanes, BEAT_BYTES)

    @property
    def port_lanes(self) -> int:
        """Output channels of a tile whose weights one port brings."""
        return self.output_lanes // self.weight_ports

    def stream_bytes(self, inputs: int, outputs: int) -> int:
        """Bytes a port reads for a product of padded `inputs` -> `outputs` channels.

        For every tile of `output_lanes`: the parameters of the port's channels, then for every
        tile of `input_lanes` the port's rows, each `input_lanes` weights.
        """
        tile = self.port_lanes * (CHANNEL_BYTES + inputs)
        return outputs // self.output_lanes * tile

    def expert_bytes(self, channels: int, hidden: int) -> int:
        """Bytes a port reads for one expert: its first product's stream, then its second's."""
        return self.stream_bytes(channels, hidden) + self.stream_bytes(hidden, channels)


SMALL_BUILD = Build(
    input_lanes=8,
    output_lanes=8,
    weight_ports=2,
    input_bytes=8 << 10,
    hidden_bytes=4 << 10,
    scratch_bytes=16 << 10,
    max_tokens=128,
    max_channels=256,
    max_norm_channels=128,
    max_experts=8,
    max_top_k=4,
    max_heads=8,
    max_head_dim=32,
    max_side=64,
)
"""For tests: every limit is near."""

RTL_BUILD = Build(
    input_lanes=16,
    output_lanes=16,
    weight_ports=4,
    input_bytes=16 << 10,
    hidden_bytes=8 << 10,
    scratch_bytes=32 << 10,
    max_tokens=128,
    max_channels=512,
    max_norm_channels=128,
    max_experts=8,
    max_top_k=4,
    max_heads=8,
    max_head_dim=64,
    max_side=64,
)
"""The smallest that the RTL takes, for its benches: lines of 16 bytes, four weight ports."""

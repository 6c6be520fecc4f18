"""The quantiser's arithmetic, piece by piece, against the formulas in float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.errors import BackendError
from gearshift_hls import fixed_point as fp
from gearshift_hls.descriptor import MAX_SHIFT
from gearshift_hls.operations import Weights
from gearshift_hls.quantise.heads import head_parameters, mixed_coding, qkv_coding
from gearshift_hls.quantise.layers import Mixture, Norm, Product
from gearshift_hls.quantise.norms import norm_coding, norm_parameters, router_constants
from gearshift_hls.quantise.products import Seen, pad_weights, quantise_product
from gearshift_hls.quantise.requantise import multiplier_and_shift, one_multiplier
from gearshift_hls.quantise.scales import Coding, channel_ranges, gelu_coding
from gearshift_kernels import oracle

RESIDUAL = 2.0**-16


# --- Factors -------------------------------------------------------------------------------------


@given(st.floats(2.0**-46, 65535.0))
def test_a_factor_is_met_to_its_last_of_sixteen_bits(factor: float) -> None:
    multiplier, shift = one_multiplier(factor, "layer")
    assert 1 << 15 <= multiplier < 1 << 16
    assert 0 <= shift <= MAX_SHIFT
    exact = Fraction(factor)
    assert abs(Fraction(multiplier, 2**shift) - exact) <= exact / 2**16


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0**-40, 1 - 2.0**-20, 2 - 2.0**-20, 65535.4])
def test_a_factor_beside_a_power_of_two(factor: float) -> None:
    multiplier, shift = one_multiplier(factor, "layer")
    assert 1 << 15 <= multiplier < 1 << 16
    assert multiplier / 2**shift == pytest.approx(factor, rel=2**-16)


def test_factors_too_small_to_matter_are_zero() -> None:
    """The largest sum of int32 and bias, times such a factor, is below one half."""
    found = multiplier_and_shift(np.array([0.0, 2.0**-49, 1e-300]), "layer")
    np.testing.assert_array_equal(found, np.zeros((2, 3)))
    assert 2.0**33 * 2.0**-47 < 0.5
    assert one_multiplier(2.0**-47, "layer") == (1 << 15, MAX_SHIFT)


@pytest.mark.parametrize("factor", [65536.0, 1e9, np.inf, np.nan, -1.0])
def test_a_factor_that_does_not_fit_names_its_layer(factor: float) -> None:
    with pytest.raises(BackendError, match=r"blocks\.3\.mlp: .*check the layer's weights"):
        multiplier_and_shift(np.array([1.0, factor]), "blocks.3.mlp")


# --- Scales --------------------------------------------------------------------------------------


def test_the_largest_value_of_a_channel_is_its_largest_integer() -> None:
    values = np.array([[1.0, -8.0, 0.0], [-2.0, 4.0, 0.0]])
    assert channel_ranges(values).tolist() == [2.0, 8.0, 8.0 * 2**-12]


def test_values_that_are_all_zero_have_a_scale() -> None:
    assert (channel_ranges(np.zeros((3, 2))) > 0).all()
    assert gelu_coding(np.zeros((3, 2)))[0] > 0


def test_gelus_results_fit_uint8() -> None:
    values = oracle.gelu(np.linspace(-4, 3, 1001))
    scale, zero = gelu_coding(values)
    integers = np.rint(values / scale) + zero
    assert (integers.min(), integers.max()) == (0, 255)
    assert np.abs((integers - zero) * scale - values).max() <= scale / 2 * (1 + 1e-12)


# --- Products ------------------------------------------------------------------------------------


def _case(
    seed: int, rows: int = 200, inputs: int = 23, outputs: int = 9
) -> tuple[Product, np.ndarray, Coding, np.ndarray]:
    """A product, its float inputs, their code, and their integers."""
    random = np.random.default_rng(seed)
    product = Product(random.normal(size=(outputs, inputs)), random.normal(size=outputs))
    x = random.normal(random.normal(size=inputs), random.uniform(0.1, 5, inputs), (rows, inputs))
    offset = x.mean(axis=0)
    coding = Coding(np.abs(x - offset).max(axis=0) / 127, offset)
    return product, x, coding, np.rint((x - offset) / coding.scale)


def _run(weights: Weights, integers: np.ndarray) -> np.ndarray:
    channels = {
        name: weights.channels[name].astype(np.int64) for name in weights.channels.dtype.names
    }
    total = integers.astype(np.int64) @ weights.weights.T.astype(np.int64)
    return fp.requantise(total, channels["bias"], channels["multiplier"], channels["shift"])


@pytest.mark.parametrize("seed", range(5))
def test_a_product_is_within_its_roundings(seed: int) -> None:
    product, x, coding, integers = _case(seed)
    outputs = Coding(np.full(9, RESIDUAL), np.zeros(9))
    seen = Seen(x.mean(axis=0), integers.mean(axis=0))
    found = _run(quantise_product(product, coding, seen, outputs, "layer"), integers) * RESIDUAL
    wanted = x @ product.weight.T + product.bias
    # Inputs are off by half a step and weights by half of theirs; the bias moves all rows alike.
    scaled = np.abs(product.weight * coding.scale)
    step = scaled.max(axis=1) / 127
    bound = scaled.sum(axis=1) / 2 + 127 * 23 * step / 2
    bound += np.abs(wanted).max(axis=0) * 2**-16 + RESIDUAL + step
    assert (np.abs(found - wanted) <= 2 * bound).all()
    # And the mean is met: but for the bias's rounding, the multiplier's and the last one's.
    mean = np.abs(found.mean(axis=0) - wanted.mean(axis=0))
    assert (mean <= step / 2 + np.abs(wanted).max(axis=0) * 2**-15 + RESIDUAL).all()


def test_without_calibration_zero_is_right() -> None:
    product, _, coding, _ = _case(1)
    outputs = Coding(np.full(9, RESIDUAL), np.zeros(9))
    scale, zero = 0.01, 17
    coding = Coding(np.full(23, scale), np.full(23, -scale * zero))
    weights = quantise_product(product, coding, Seen.nothing(coding), outputs, "layer")
    found = _run(weights, np.full((1, 23), zero))[0] * RESIDUAL
    step = np.abs(product.weight * scale).max(axis=1) / 127
    assert (
        np.abs(found - product.bias) <= step / 2 + np.abs(product.bias) * 2**-16 + RESIDUAL
    ).all()


def test_the_code_of_the_results_has_an_offset_too() -> None:
    product, x, coding, integers = _case(2)
    wanted = x @ product.weight.T + product.bias
    code = Coding(np.abs(wanted).max(axis=0) / 100, wanted.mean(axis=0))
    seen = Seen(x.mean(axis=0), integers.mean(axis=0))
    found = _run(quantise_product(product, coding, seen, code, "layer"), integers)
    np.testing.assert_allclose(found * code.scale + code.offset, wanted, atol=code.scale.max() * 2)


def test_a_bias_that_dwarfs_its_weights_fits_int32() -> None:
    product = Product(
        np.array([[1e-12, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([500.0, -3.0, 0.5])
    )
    coding = Coding(np.ones(2), np.zeros(2))
    outputs = Coding(np.full(3, RESIDUAL), np.zeros(3))
    weights = quantise_product(product, coding, Seen.nothing(coding), outputs, "layer")
    found = _run(weights, np.array([[100, -100], [0, 0]])) * RESIDUAL
    np.testing.assert_allclose(found, [[500, -3, 0.5]] * 2, rtol=2**-15, atol=1 / 127)


def test_results_too_large_for_their_format_name_the_layer() -> None:
    product = Product(np.full((1, 1), 1e6), np.zeros(1))
    coding = Coding(np.ones(1), np.zeros(1))
    with pytest.raises(BackendError, match=r"blocks\.1\.attention\.proj"):
        quantise_product(
            product,
            coding,
            Seen.nothing(coding),
            Coding(np.full(1, RESIDUAL), np.zeros(1)),
            "blocks.1.attention.proj",
        )


def test_padding_moves_channels_and_leaves_zeros() -> None:
    product, x, coding, integers = _case(3)
    seen = Seen(x.mean(axis=0), integers.mean(axis=0))
    code = Coding(np.full(9, RESIDUAL), np.zeros(9))
    plain = quantise_product(product, coding, seen, code, "layer")
    rows, columns = np.arange(9) * 2, np.arange(23) + 5
    padded = pad_weights(plain, rows, columns, 32, 48)
    wide = np.full((len(integers), 48), 99)
    wide[:, columns] = integers
    found = _run(padded, wide)
    np.testing.assert_array_equal(found[:, rows], _run(plain, integers))
    assert not found[:, np.setdiff1d(np.arange(32), rows)].any()


# --- Norms and routers ---------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_a_norms_gain_and_offset_make_its_code(spread: float) -> None:
    random = np.random.default_rng(0)
    z = random.normal(size=(500, 12))
    norm = Norm("norm", random.normal(1, 0.3, 12) * spread, random.normal(0, spread, 12), 1e-6)
    values = z * norm.gain + norm.offset
    reader = Product(random.normal(size=(4, 12)), np.zeros(4))
    coding = norm_coding(values, [reader])
    shift, parameters = norm_parameters(norm, coding, 16)
    integers = np.rint(z * 1024).astype(np.int64)
    gain, offset = (parameters[name].astype(np.int64)[:12] for name in ("gain", "offset"))
    found = fp.shift_right(integers * gain + offset, shift)
    assert np.abs(found).max() <= 127
    # Half a step; a rounded gain is off by 2^-shift / 2 and a rounded value by 1/2048.
    slack = 0.5 + np.abs(integers).max() * 2.0**-shift + np.abs(norm.gain / coding.scale) / 2048
    assert (np.abs(found * coding.scale + coding.offset - values) <= slack * coding.scale).all()
    assert not parameters[12:]["gain"].any()


def test_a_norm_that_never_moved_names_itself() -> None:
    norm = Norm("blocks.2.norm1", np.ones(4), np.zeros(4), 1e-6)
    with pytest.raises(BackendError, match=r"blocks\.2\.norm1: .*calibrate on more"):
        norm_parameters(norm, Coding(np.full(4, 1e-9), np.zeros(4)), 16)


def test_a_map_keeps_zero_at_zero() -> None:
    values = np.random.default_rng(0).normal(3, 1, (50, 4))
    reader = Product(np.ones((1, 4)), np.zeros(1))
    assert not norm_coding(values, [reader], centred=False).offset.any()


def test_a_router_reads_normalised_values() -> None:
    random = np.random.default_rng(0)
    norm = Norm("norm", random.normal(1, 0.3, 20), random.normal(size=20), 1e-6)
    router = Product(random.normal(size=(5, 20)), np.array([0.5, -0.2, -np.inf, 0.0, 1.0]))
    layer = Mixture("experts", norm, "router", router, 2, 0.0, ())
    weights, biases, multiplier, shift = router_constants(layer, 32)
    z = random.normal(size=(40, 20))
    integers = np.rint(z * 1024).astype(np.int64)
    logits = integers @ weights[:, :20].astype(np.int64).T + (biases.astype(np.int64) << 10)
    powers = fp.shift_right(logits * multiplier, shift) / 1024
    wanted = (z * norm.gain + norm.offset) @ router.weight.T + router.bias
    kept = np.isfinite(router.bias)
    np.testing.assert_allclose(powers[:, kept] * np.log(2), wanted[:, kept], atol=5e-3)
    # A shut expert lies more than 31 powers of two below: its score is 0.
    assert (powers[:, kept].min(axis=1) - powers[:, 2] > 31).all()
    assert not weights[:, 20:].any()


# --- Heads ---------------------------------------------------------------------------------------


def test_codes_of_heads_change_nothing_but_roundings() -> None:
    """Scores and results from the codes alone, integers not rounded: as in float64."""
    random = np.random.default_rng(0)
    heads, head_dim, tokens = 3, 7, 25
    parts = random.normal(
        random.normal(size=(1, 3, heads, head_dim)), 1.0, (tokens, 3, heads, head_dim)
    )
    code, step = qkv_coding(parts)
    integers = ((parts.reshape(tokens, -1) - code.offset) / code.scale).reshape(parts.shape)
    assert np.abs(integers).max() <= 127 * (1 + 1e-12)
    mixed = np.zeros((tokens, heads, head_dim))
    for head in range(heads):
        q, k, v = parts[:, 0, head], parts[:, 1, head], parts[:, 2, head]
        mixed[:, head] = oracle.softmax(q @ k.T / np.sqrt(head_dim)) @ v
    mixed = mixed.reshape(tokens, -1)
    mixed_code, ratio = mixed_coding(mixed, code, heads)
    parameters = head_parameters(step, ratio, head_dim, "heads")
    for head in range(heads):
        q, k, v = integers[:, 0, head], integers[:, 1, head], integers[:, 2, head]
        own = parameters[head]
        scores = q @ k.T * (own["score_multiplier"] / 2.0 ** own["score_shift"]) / 1024
        shares = 2.0**scores / (2.0**scores).sum(axis=1, keepdims=True)
        y = shares @ v * 1024 * (own["output_multiplier"] / 2.0 ** own["output_shift"])
        assert np.abs(y).max() <= 127 * (1 + 2**-12)
        place = slice(head * head_dim, (head + 1) * head_dim)
        found = y * mixed_code.scale[place] + mixed_code.offset[place]
        np.testing.assert_allclose(found, mixed[:, place], atol=1e-3)

"""The roofline model against numbers that were worked out by hand."""

from __future__ import annotations

from functools import cache

import pytest

from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift_bench.machines import Machine
from gearshift_bench.roofline import LAUNCH_GAP, Work, predict, program_work

# Round numbers; 16 x 2 x 5 exponentials a second.
MACHINE = Machine("toy", "sm_80", 8.0, 30.0, 100.0, 200.0, None, 10.0, None, 2, 5.0, 1.0, ("none",))


def work(flops: int, exponentials: int, nbytes: int, is_exact: bool = False) -> Work:
    return Work("node", "linear", flops, exponentials, nbytes, is_exact)


@cache
def program(model: str, task: int | str = 0, batch: int = 1) -> Program:
    return specialise(read_artifact(find_model(model)), task, batch=batch)


def works(model: str, precision: str = "bfloat16") -> dict[str, Work]:
    return {work.node: work for work in program_work(program(model), precision)}


def test_the_slowest_of_three_bounds_a_launch() -> None:
    assert work(400, 160, 10).bound(MACHINE, "bfloat16") == ("compute", 4.0)
    assert work(400, 1600, 10).bound(MACHINE, "bfloat16") == ("exponentials", 10.0)
    assert work(400, 160, 70).bound(MACHINE, "bfloat16") == ("memory", 7.0)


def test_float32_products_run_as_three_of_tf32() -> None:
    assert work(400, 0, 0).bound(MACHINE, "float32")[1] == 40.0
    assert work(400, 0, 0, is_exact=True).bound(MACHINE, "bfloat16")[1] == 50.0
    for precision in ("float16", "int8", "float8"):
        assert work(400, 0, 0).bound(MACHINE, precision)[1] == 4.0


def test_a_prediction_is_the_sum_of_its_launches_and_their_gaps() -> None:
    launches = [work(400, 0, 10), work(0, 0, 70), work(0, 160, 0)]
    prediction = predict(launches, MACHINE, "bfloat16", launches=5)
    assert prediction.seconds_by_bound == {"compute": 4.0, "memory": 7.0, "exponentials": 1.0}
    assert prediction.roof_seconds == 12.0
    assert prediction.seconds == pytest.approx(12.0 + 5 * LAUNCH_GAP)


def check_operations(model: str) -> None:
    tasks = len(read_artifact(find_model(model)).card.tasks)
    assert tasks
    for task in range(tasks):
        one = program(model, task)
        found = sum(work.flops for work in program_work(one, "bfloat16"))
        assert found == 2 * one.macs, one.task_card.name


@pytest.mark.parametrize("model", ["demo", "tiny"])
def test_operations_agree_with_the_program_s_own_count(model: str) -> None:
    check_operations(model)


@pytest.mark.slow
def test_operations_agree_with_the_program_s_own_count_on_the_small_model() -> None:
    check_operations("small")


def encoder_and_decoder(model: str) -> tuple[float, float]:
    """In multiply-accumulates."""
    parts = {True: 0, False: 0}
    for node, one in works(model).items():
        parts[node.startswith("decoders.")] += one.flops // 2
    return parts[False], parts[True]


def test_tiny_agrees_with_an_independent_count() -> None:
    encoder, decoder = encoder_and_decoder("tiny")
    assert round(encoder / 1e6) == 783
    assert round(decoder / 1e9, 1) == 6.4


@pytest.mark.slow
def test_small_agrees_with_an_independent_count() -> None:
    assert round(encoder_and_decoder("small")[0] / 1e6) == 39_193


def test_a_fused_linear_layer_by_hand() -> None:
    """129 tokens; norm, 192 -> 768, GELU: float32 in, bfloat16 out."""
    fc1 = works("tiny")["blocks.0.mlp.linear"]
    assert fc1.flops == 2 * 129 * 192 * 768
    weights = 768 * 192 * 2 + 768 * 4 + 2 * 192 * 4
    assert fc1.nbytes == 129 * 192 * 4 + 129 * 768 * 2 + weights


def test_a_residual_is_read_and_written_in_float32() -> None:
    fc2 = works("tiny")["blocks.0.mlp.linear_add"]
    stream = 129 * 192 * 4
    assert fc2.nbytes == 2 * stream + 129 * 768 * 2 + 768 * 192 * 2 + 192 * 4


def test_one_byte_weights_have_scales() -> None:
    narrow, wide = (works("tiny", name)["blocks.0.mlp.linear_add"] for name in ("int8", "bfloat16"))
    assert wide.nbytes - narrow.nbytes == 768 * 192 - 192 * 4
    assert narrow.flops == wide.flops


def test_attention_by_hand() -> None:
    """Three heads; a score is one exponential and two products of 64."""
    attention = works("tiny")["blocks.0.attention.attention"]
    assert attention.exponentials == 3 * 129 * 129
    assert attention.flops == 3 * 129 * 129 * 2 * 2 * 64
    assert attention.nbytes == 129 * (576 + 192) * 2


def test_an_expert_product_by_hand() -> None:
    """Two of 16 experts a token; each expert's weights once, whatever the number of its tokens."""
    fc1 = works("tiny")["blocks.1.experts.expert_fc1"]
    assert fc1.flops == 129 * 2 * 2 * 192 * 384
    weights = 16 * (384 * 192 * 2 + 384 * 4)
    tokens, hidden, queues = 129 * 192 * 2, 258 * 384 * 2, 258 * 4 + 17 * 4
    assert fc1.nbytes == weights + tokens + hidden + queues


def test_the_second_expert_product_by_hand() -> None:
    """It leaves float32 answers, scored, in the order of the choices."""
    fc2 = works("tiny")["blocks.1.experts.expert_fc2"]
    assert fc2.flops == 129 * 2 * 2 * 192 * 384
    weights = 16 * (384 * 192 * 2 + 192 * 4)
    hidden, answers, scores = 258 * 384 * 2, 258 * 192 * 4, 258 * 4
    assert fc2.nbytes == weights + hidden + answers + scores + 258 * 4 + 17 * 4


def test_few_tokens_touch_few_experts() -> None:
    """Demo on an image of one patch: two tokens choose two of eight experts each at most."""
    graph = read_artifact(find_model("demo"))
    size = int(program("demo").steps[0].attributes["patch_size"])
    few = {
        one.node: one
        for one in program_work(specialise(graph, 0, height=size, width=size), "bfloat16")
    }
    many = works("demo")
    node = "blocks.1.experts.expert_fc1"
    hidden, width = (
        program("demo")
        .weights[next(s for s in program("demo").steps if s.kernel == "expert_mixture").weights[0]]
        .shape
    )
    one_expert = hidden * width * 2 + hidden * 4
    assert few[node].nbytes < 4 * one_expert + 4 * (width + hidden) * 2 + 100
    assert many[node].nbytes > 8 * one_expert


def test_an_enlarging_convolution_by_hand() -> None:
    """tiny's last, 256 channels from 32x64 to 64x128: nine products a pixel and channel; the
    weights are four phases of sixteen taps."""
    last = works("tiny")["decoders.semseg.conv_3.upsample_conv"]
    pixels = 64 * 128
    assert last.flops == 2 * pixels * 9 * 256 * 256
    weights = 4 * 16 * 256 * 256 * 2 + 256 * 4
    assert last.nbytes == (pixels + pixels // 4) * 256 * 2 + weights


def test_work_grows_with_the_batch_but_weights_do_not() -> None:
    one, four = (
        program_work(program("demo"), "bfloat16"),
        program_work(program("demo", batch=4), "bfloat16"),
    )
    assert sum(w.flops for w in four) == 4 * sum(w.flops for w in one)
    assert sum(w.nbytes for w in four) < 4 * sum(w.nbytes for w in one)

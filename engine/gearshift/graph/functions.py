"""The meaning of each gearshift operator in standard ONNX: one model-local function each.

A runtime that does not know gearshift runs these bodies; the engine recognises the function
nodes and runs its own kernels. A change to a body changes every artifact's bytes, so it needs
a new `FORMAT_VERSION`. Bodies are written in ONNX's textual syntax; shapes are those of
`vocabulary`.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx.parser
from onnx import FunctionProto

from gearshift.graph.graph import Node
from gearshift.graph.shapes import bank_size
from gearshift.graph.vocabulary import DOMAIN, OPERATORS, STANDARD_OPSET

_BODIES: dict[str, tuple[str, str]] = {
    "PatchEmbedding": (
        # Conv's strides are a list, which a function cannot take from its whole-number attribute:
        # so patches become channels, and the convolution a 1x1.
        "Image to tokens: each patch times one matrix, plus its position (resized bilinearly to "
        "the image's grid of patches), behind the class token.",
        """
        blocks = SpaceToDepth <blocksize: int = @patch_size> (image)
        channels_last = Transpose <perm = [0, 2, 3, 1]> (weight)
        kernel_shape = Constant <value_ints = [0, -1, 1, 1]> ()
        kernel = Reshape (channels_last, kernel_shape)
        patches = Conv (blocks, kernel, bias)
        one = Constant <value_ints = [1]> ()
        width_and_grid = Shape <start = 1> (patches)
        positions_shape = Concat <axis = 0> (one, width_and_grid)
        grid_positions = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (positions, , , positions_shape)
        positioned = Add (patches, grid_positions)
        flat_shape = Constant <value_ints = [0, 0, -1]> ()
        flat = Reshape (positioned, flat_shape)
        patch_tokens = Transpose <perm = [0, 2, 1]> (flat)
        batch = Shape <start = 0, end = 1> (image)
        class_shape = Concat <axis = 0> (batch, one, one)
        class_tokens = Expand (class_token, class_shape)
        y = Concat <axis = 1> (class_tokens, patch_tokens)
        """,
    ),
    "Attention": (
        "Multi-head self-attention: softmax(Q K^T / sqrt(head_dim)) V, then a projection.",
        """
        rows = Flatten <axis = 2> (x)
        qkv = Gemm <transB = 1> (rows, qkv_weight, qkv_bias)
        query_rows, key_rows, value_rows = Split <axis = 1, num_outputs = 3> (qkv)
        batch_and_tokens = Shape <start = 0, end = 2> (x)
        minus_one = Constant <value_ints = [-1]> ()
        head_number = Constant <value_int: int = @heads> ()
        head_count = Reshape (head_number, minus_one)
        heads_shape = Concat <axis = 0> (batch_and_tokens, head_count, minus_one)
        query_heads = Reshape (query_rows, heads_shape)
        key_heads = Reshape (key_rows, heads_shape)
        value_heads = Reshape (value_rows, heads_shape)
        query = Transpose <perm = [0, 2, 1, 3]> (query_heads)
        key = Transpose <perm = [0, 2, 3, 1]> (key_heads)
        value = Transpose <perm = [0, 2, 1, 3]> (value_heads)
        head_dim = Shape <start = 3> (query)
        head_dim_float = Cast <to = 1> (head_dim)
        root = Sqrt (head_dim_float)
        scaled_query = Div (query, root)
        logits = MatMul (scaled_query, key)
        weights = Softmax <axis = -1> (logits)
        mixed_heads = MatMul (weights, value)
        mixed_tokens = Transpose <perm = [0, 2, 1, 3]> (mixed_heads)
        rows_shape = Shape (rows)
        mixed_rows = Reshape (mixed_tokens, rows_shape)
        projected = Gemm <transB = 1> (mixed_rows, proj_weight, proj_bias)
        x_shape = Shape (x)
        y = Reshape (projected, x_shape)
        """,
    ),
    "Mlp": (
        "Dense feed-forward layer: two products with an exact-erf GELU between.",
        """
        rows = Flatten <axis = 2> (x)
        hidden = Gemm <transB = 1> (rows, fc1_weight, fc1_bias)
        active = Gelu <approximate = "none"> (hidden)
        output = Gemm <transB = 1> (active, fc2_weight, fc2_bias)
        x_shape = Shape (x)
        y = Reshape (output, x_shape)
        """,
    ),
    "Router": (
        "Scores every token's experts for the task and keeps the top_k, not renormalised; equal "
        "scores go to the lower expert; kept scores at or below prune_scores become zero.",
        """
        routers = Shape <start = 0, end = 1> (weight)
        one = Constant <value_ints = [1]> ()
        last = Sub (routers, one)
        last_number = Squeeze (last)
        router = Min (task, last_number)
        task_weight = Gather <axis = 0> (weight, router)
        task_bias = Gather <axis = 0> (bias, task)
        products = MatMul (x, task_weight)
        logits = Add (products, task_bias)
        scores = Softmax <axis = -1> (logits)
        minus_one = Constant <value_ints = [-1]> ()
        kept_number = Constant <value_int: int = @top_k> ()
        kept = Reshape (kept_number, minus_one)
        top_scores, expert_index = TopK <axis = -1, largest = 1, sorted = 1> (scores, kept)
        threshold = Constant <value_float: float = @prune_scores> ()
        above = Greater (top_scores, threshold)
        zero = Constant <value_float = 0.0> ()
        gate_score = Where (above, top_scores, zero)
        """,
    ),
    "FeatureMap": (
        "Patch tokens, without the class token, laid out as a map of the image's patches.",
        """
        first = Constant <value_ints = [1]> ()
        beyond = Constant <value_ints = [9223372036854775807]> ()
        patch_tokens = Slice (tokens, first, beyond, first)
        flat = Transpose <perm = [0, 2, 1]> (patch_tokens)
        patch = Constant <value_int: int = @patch_size> ()
        image_size = Shape <start = 2> (image)
        grid = Div (image_size, patch)
        batch_and_width = Shape <start = 0, end = 2> (flat)
        map_shape = Concat <axis = 0> (batch_and_width, grid)
        y = Reshape (flat, map_shape)
        """,
    ),
    "UpsampleConv": (
        "Bilinear enlargement, 3x3 convolution, batch normalisation, ReLU.",
        """
        factor_number = Constant <value_int: int = @scale> ()
        minus_one = Constant <value_ints = [-1]> ()
        factor = Reshape (factor_number, minus_one)
        factor_float = Cast <to = 1> (factor)
        ones = Constant <value_floats = [1.0, 1.0]> ()
        scales = Concat <axis = 0> (ones, factor_float, factor_float)
        enlarged = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (x, , scales)
        convolved = Conv <pads = [1, 1, 1, 1]> (enlarged, weight, bias)
        normal = BatchNormalization <epsilon: float = @epsilon>
            (convolved, norm_scale, norm_bias, norm_mean, norm_variance)
        y = Relu (normal)
        """,
    ),
    "Head": (
        "1x1 convolution to the task's channels, then bilinear enlargement by two.",
        """
        convolved = Conv (x, weight, bias)
        scales = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
        y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (convolved, , scales)
        """,
    ),
    "ResizeToImage": (
        "Bilinear to the height and width of the image.",
        """
        batch_and_channels = Shape <start = 0, end = 2> (x)
        image_size = Shape <start = 2> (image)
        y_shape = Concat <axis = 0> (batch_and_channels, image_size)
        y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (x, , , y_shape)
        """,
    ),
}

_MIXTURE_DOC = (
    "The chosen experts' outputs, weighted by gate score and summed. Choices are sorted by "
    "expert, each expert computes its own queue of tokens and nothing else, and the results "
    "return to token order."
)
_MIXTURE_QUEUES = """
        rows = Flatten <axis = 2> (x)
        minus_one = Constant <value_ints = [-1]> ()
        choices = Reshape (expert_index, minus_one)
        choice_count = Shape (choices)
        sorted_choices, order = TopK <axis = 0, largest = 0, sorted = 1> (choices, choice_count)
        top_k = Shape <start = 2> (expert_index)
        row_of_choice = Div (order, top_k)
        queued_rows = Gather <axis = 0> (rows, row_of_choice)
        choice_column = Unsqueeze (choices, minus_one)
        is_chosen = Equal (choice_column, experts)
        is_chosen_number = Cast <to = 7> (is_chosen)
        first_axis = Constant <value_ints = [0]> ()
        queue_lengths = ReduceSum <keepdims = 0> (is_chosen_number, first_axis)
"""
_MIXTURE_SUM = """
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        choice_number = Squeeze (choice_count)
        places = Range (zero, choice_number, one)
        place_of_choice = ScatterElements <axis = 0> (places, order, places)
        choice_outputs = Gather <axis = 0> (queued_outputs, place_of_choice)
        index_shape = Shape (expert_index)
        outputs_shape = Concat <axis = 0> (index_shape, minus_one)
        outputs = Reshape (choice_outputs, outputs_shape)
        score_column = Unsqueeze (gate_score, minus_one)
        weighted = Mul (outputs, score_column)
        choice_axis = Constant <value_ints = [2]> ()
        y = ReduceSum <keepdims = 0> (weighted, choice_axis)
"""


def functions(experts: int) -> list[FunctionProto]:
    """All functions of the domain, alphabetically; `ExpertMixture` is for a bank of `experts`.

    With `experts` 0 there is no `ExpertMixture`.
    """
    built = [_function(name, doc, body) for name, (doc, body) in _BODIES.items()]
    if experts:
        built.append(_expert_mixture(experts))
    return sorted(built, key=lambda function: function.name)


def functions_used(nodes: Iterable[Node]) -> list[FunctionProto]:
    """The functions that `nodes` need, in the order in which a file holds them."""
    experts, used = 0, set()
    for node in nodes:
        used.add(node.operator)
        if node.operator == "ExpertMixture":
            experts = bank_size(node)
    return [function for function in functions(experts) if function.name in used]


def _expert_mixture(experts: int) -> FunctionProto:
    numbers = ", ".join(str(expert) for expert in range(experts))
    queues = ", ".join(f"queue_{expert}" for expert in range(experts))
    outputs = ", ".join(f"output_{expert}" for expert in range(experts))
    lines = [
        f"experts = Constant <value_ints = [{numbers}]> ()",
        _MIXTURE_QUEUES,
        f"{queues} = Split <axis = 0> (queued_rows, queue_lengths)",
    ]
    for e in range(experts):
        lines += [
            f"hidden_{e} = Gemm <transB = 1> (queue_{e}, fc1_weight_{e}, fc1_bias_{e})",
            f'active_{e} = Gelu <approximate = "none"> (hidden_{e})',
            f"output_{e} = Gemm <transB = 1> (active_{e}, fc2_weight_{e}, fc2_bias_{e})",
        ]
    lines += [f"queued_outputs = Concat <axis = 0> ({outputs})", _MIXTURE_SUM]
    return _function("ExpertMixture", _MIXTURE_DOC, "\n".join(lines), experts)


def _function(name: str, doc: str, body: str, experts: int = 0) -> FunctionProto:
    operator = OPERATORS[name]
    repeated = [f"{weight}_{e}" for e in range(experts) for weight in operator.repeated]
    attributes = ", ".join(attribute for attribute, _ in operator.attributes)
    function = onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["": {STANDARD_OPSET}]>\n'
        f"{name} {f'<{attributes}>' if attributes else ''}"
        f" ({', '.join((*operator.inputs, *repeated))}) => ({', '.join(operator.outputs)})\n"
        f"{{{body}}}"
    )
    function.doc_string = doc
    return function

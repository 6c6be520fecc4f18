"""gRPC as it goes over the wire: what is wrong with a message, and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gearshift import Session
from gearshift.errors import InputError
from gearshift.server.oip import grpc_service

from .wire import grpc_output, message, open_stub, refused

MakeImage = Callable[..., np.ndarray]
SHAPE = (1, 3, 24, 40)


def change(path: str, value: Any) -> Callable[[service_pb2.ModelInferRequest], None]:
    """Sets a field of the request, or with `inputs.` of its input."""

    def apply(wrong: service_pb2.ModelInferRequest) -> None:
        holder = wrong.inputs[0] if path.startswith("inputs.") else wrong
        name = path.removeprefix("inputs.")
        if isinstance(value, list):
            del getattr(holder, name)[:]
            getattr(holder, name).extend(value)
        else:
            setattr(holder, name, value)

    return apply


def parameter(name: str, field: str, value: Any) -> Callable[[service_pb2.ModelInferRequest], None]:
    return lambda wrong: setattr(wrong.parameters[name], field, value)


def both_forms(wrong: service_pb2.ModelInferRequest) -> None:
    wrong.inputs[0].contents.fp32_contents.append(1.0)


def too_few_numbers(wrong: service_pb2.ModelInferRequest) -> None:
    del wrong.raw_input_contents[:]
    wrong.inputs[0].contents.fp32_contents.extend([0.5] * 7)


def numbers_of_another_type(wrong: service_pb2.ModelInferRequest) -> None:
    del wrong.raw_input_contents[:]
    wrong.inputs[0].contents.int_contents.extend([1] * 2880)


def pixels_over_255(wrong: service_pb2.ModelInferRequest) -> None:
    del wrong.raw_input_contents[:]
    change("inputs.datatype", "UINT8")(wrong)
    change("inputs.shape", [1, 8, 8, 3])(wrong)
    wrong.inputs[0].contents.uint_contents.extend([256] * 192)


def shared(wrong: service_pb2.ModelInferRequest) -> None:
    wrong.inputs[0].parameters["shared_memory_region"].string_param = "r"


WRONG: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "model": (change("model_name", "nothing"), "NOT_FOUND", "nothing"),
    "alias": (change("model_name", "random:edges"), "INVALID_ARGUMENT", "names one task"),
    "version": (change("model_version", "9"), "NOT_FOUND", "9"),
    "task": (parameter("task", "string_param", "no"), "NOT_FOUND", "no task 'no'"),
    "task is a number": (parameter("task", "int64_param", 3), "INVALID_ARGUMENT", "task"),
    "priority": (parameter("priority", "int64_param", -3), "INVALID_ARGUMENT", "priority"),
    "priority level": (parameter("priority", "uint64_param", 77), "INVALID_ARGUMENT", "77"),
    "timeout": (parameter("timeout", "string_param", "soon"), "INVALID_ARGUMENT", "timeout"),
    "huge timeout": (parameter("timeout", "uint64_param", 2**64 - 1), "INVALID_ARGUMENT", "18446"),
    "sequence": (parameter("sequence_id", "string_param", "a"), "INVALID_ARGUMENT", "sequence"),
    "id": (change("id", "x" * 257), "INVALID_ARGUMENT", "256"),
    "no input": (lambda wrong: wrong.inputs.pop(), "INVALID_ARGUMENT", "0 inputs"),
    "two inputs": (lambda wrong: wrong.inputs.add(), "INVALID_ARGUMENT", "2 inputs"),
    "many inputs": (
        lambda wrong: [wrong.inputs.add() for _ in range(16)],
        "RESOURCE_EXHAUSTED",
        "at most 16",
    ),
    "name": (change("inputs.name", "x"), "INVALID_ARGUMENT", "'x' is not known"),
    "datatype": (change("inputs.datatype", "FP16"), "INVALID_ARGUMENT", "FP16"),
    "shape": (change("inputs.shape", [3, 24, 40]), "INVALID_ARGUMENT", "(N,3,H,W)"),
    "huge shape": (change("inputs.shape", [1, 3, 2**62, 4]), "INVALID_ARGUMENT", "(N,3,H,W)"),
    "no bytes": (change("raw_input_contents", [b""]), "INVALID_ARGUMENT", "0 bytes"),
    "bytes missing": (change("raw_input_contents", [b"\0" * 11519]), "INVALID_ARGUMENT", "11,519"),
    "bytes of nothing": (
        change("raw_input_contents", [b"\0" * 11520, b""]),
        "INVALID_ARGUMENT",
        "2 raw_input_contents",
    ),
    "both forms": (both_forms, "INVALID_ARGUMENT", "1 raw_input_contents"),
    "too few numbers": (too_few_numbers, "INVALID_ARGUMENT", "7 numbers"),
    "numbers of another type": (numbers_of_another_type, "INVALID_ARGUMENT", "0 numbers"),
    "pixels": (pixels_over_255, "INVALID_ARGUMENT", "0 to 255"),
    "shared memory": (shared, "INVALID_ARGUMENT", "no shared memory"),
    "output": (lambda wrong: wrong.outputs.add(name="labels"), "INVALID_ARGUMENT", "'labels'"),
    "two outputs": (
        lambda wrong: [wrong.outputs.add(name="output") for _ in range(2)],
        "INVALID_ARGUMENT",
        "2 outputs",
    ),
    "NaN": (
        change("raw_input_contents", [np.full(SHAPE, np.nan, np.float32).tobytes()]),
        "INVALID_ARGUMENT",
        "NaN",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(
    stub: Any, make_image: MakeImage, wrong: str
) -> None:
    spoil, code, words = WRONG[wrong]
    request = message(make_image())
    spoil(request)
    found, details, _ = refused(lambda: stub.ModelInfer(request))
    assert found == code, details
    assert words in details
    assert "\n" not in details


def test_an_empty_parameter_is_as_none(stub: Any, make_image: MakeImage) -> None:
    request = message(make_image())
    request.parameters["task"].ClearField("parameter_choice")
    assert "name a task" in refused(lambda: stub.ModelInfer(request))[1]


@pytest.mark.parametrize("name", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_unknown_models_and_versions_are_not_found(stub: Any, name: str) -> None:
    request = getattr(service_pb2, f"{name}Request")
    for asked in (request(name="nothing"), request(name="random", version="5")):
        assert refused(lambda asked=asked: getattr(stub, name)(asked))[0] == "NOT_FOUND"


def test_methods_that_are_not_there_are_unimplemented(stub: Any) -> None:
    code, details, _ = refused(
        lambda: stub.SystemSharedMemoryStatus(service_pb2.SystemSharedMemoryStatusRequest())
    )
    assert (code, "no shared memory" in details) == ("UNIMPLEMENTED", True)
    code, _, _ = refused(lambda: stub.TraceSetting(service_pb2.TraceSettingRequest()))
    assert code == "UNIMPLEMENTED"


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_messages_over_the_limit_are_refused(stub: Any, compression: grpc.Compression) -> None:
    request = service_pb2.ModelInferRequest(raw_input_contents=[b"\0" * 65 * 10**6])
    code, _, _ = refused(lambda: stub.ModelInfer(request, compression=compression))
    assert code == "RESOURCE_EXHAUSTED"


def test_bytes_that_are_no_message_hurt_nobody(
    server: Any, session: Session, make_image: MakeImage
) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        random = np.random.default_rng(1)
        for length in (1, 7, 100, 5000):
            with pytest.raises(grpc.RpcError):
                call(b"\xff" + random.bytes(length))
        image = make_image()
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message(image))
    np.testing.assert_array_equal(grpc_output(answer), session.run_normalised(image, "depth"))


def test_an_error_of_the_session_is_the_clients_or_ours(
    server: Any, stub: Any, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Session, image: np.ndarray, task: str | None = None) -> np.ndarray:
        raise error

    monkeypatch.setattr(Session, "run_checked", fail)
    error: Exception = InputError("not so")
    assert refused(lambda: stub.ModelInfer(message(make_image())))[:2] == (
        "INVALID_ARGUMENT",
        "not so",
    )
    error = ZeroDivisionError("a secret")
    code, details, _ = refused(lambda: stub.ModelInfer(message(make_image())))
    assert code == "INTERNAL"
    assert "secret" not in details


def test_a_fault_of_the_servers_own_is_logged_and_not_told(
    server: Any,
    stub: Any,
    make_image: MakeImage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(grpc_service, "read_infer", fail)
    code, details, _ = refused(lambda: stub.ModelInfer(message(make_image())))
    assert (code, details) == ("INTERNAL", grpc_service.INTERNAL)
    assert "a secret" in caplog.text
    answers = list(stub.ModelStreamInfer(iter([message(make_image())])))
    assert [answer.error_message for answer in answers] == [f"[INTERNAL] {grpc_service.INTERNAL}"]


def test_loading_brings_no_model_of_the_clients(
    start_server: Callable[..., Any],
) -> None:
    server = start_server(allow_reload=True)
    with open_stub(server) as stub:
        asked = service_pb2.RepositoryModelLoadRequest(model_name="random")
        asked.parameters["file:1/model.onnx"].bytes_param = b"x"
        assert refused(lambda: stub.RepositoryModelLoad(asked))[0] == "INVALID_ARGUMENT"
        nothing = service_pb2.RepositoryModelLoadRequest(model_name="nothing")
        assert refused(lambda: stub.RepositoryModelLoad(nothing))[0] == "NOT_FOUND"
        stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name="random"))
        index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True))
        assert list(index.models) == []
        ready = stub.ServerReady(service_pb2.ServerReadyRequest())
        assert ready.ready == server.service.ready

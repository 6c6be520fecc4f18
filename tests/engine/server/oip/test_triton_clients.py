"""NVIDIA's clients, unchanged: both transports, sync and asyncio, every form of a tensor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from google.protobuf.json_format import MessageToDict

from gearshift import Session
from gearshift.pictures import load_pictures

CLIENTS = {
    "http": (tritonclient.http, tritonclient.http),
    "http-asyncio": (tritonclient.http.aio, tritonclient.http),
    "grpc": (tritonclient.grpc, tritonclient.grpc),
    "grpc-asyncio": (tritonclient.grpc.aio, tritonclient.grpc),
}
"""Where the client is, and where its tensors are."""

MakeImage = Callable[..., np.ndarray]


class Client:
    """One of the four, called in the same way."""

    def __init__(self, kind: str, server: Any) -> None:
        self.kind = kind
        self.is_http = kind.startswith("http")
        self._module, self.tensors = CLIENTS[kind]
        self._url = server.http if self.is_http else server.grpc

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.kind.endswith("asyncio"):
                return asyncio.run(self._asyncio(name, arguments, named))
            with contextlib.closing(self._module.InferenceServerClient(self._url)) as client:
                return getattr(client, name)(*arguments, **named)

        return call

    async def _asyncio(self, name: str, arguments: Any, named: Any) -> Any:
        async with self._module.InferenceServerClient(self._url) as client:
            return await getattr(client, name)(*arguments, **named)

    def image(self, array: np.ndarray, datatype: str = "FP32", binary: bool = True) -> Any:
        made = self.tensors.InferInput("image", list(array.shape), datatype)
        if self.is_http:
            return made.set_data_from_numpy(array, binary_data=binary)
        return made.set_data_from_numpy(array)

    def output(self, binary: bool = True) -> Any:
        if self.is_http:
            return self.tensors.InferRequestedOutput("output", binary_data=binary)
        return self.tensors.InferRequestedOutput("output")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, server: Any) -> Client:
    return Client(request.param, server)


def as_dict(client: Client, answer: Any) -> dict[str, Any]:
    """A gRPC message as JSON has it, with its defaults, and numbers as numbers."""
    if client.is_http:
        return answer
    said = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value

    return plain(said)


@pytest.mark.parametrize("task", ["rooms", "depth", "normals", "edges"])
def test_answers_are_the_sessions_bit_for_bit(
    client: Client, session: Session, make_image: MakeImage, task: str
) -> None:
    image = make_image(batch=3, height=16, width=56, seed=5)
    answer = client.infer("random", [client.image(image)], parameters={"task": task})
    output = answer.as_numpy("output")
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, session.run_normalised(image, task))


def test_the_task_may_be_the_models_name(
    client: Client, session: Session, make_image: MakeImage
) -> None:
    image = make_image()
    answer = client.infer("random:normals", [client.image(image)], request_id="seven/7")
    np.testing.assert_array_equal(
        answer.as_numpy("output"), session.run_normalised(image, "normals")
    )
    said = as_dict(client, answer.get_response())
    assert said["id"] == "seven/7"
    assert said["model_name"] == "random:normals"
    assert str(said["model_version"]) == "1"


def test_the_answer_says_what_ran(client: Client, make_image: MakeImage) -> None:
    answer = client.infer("random:edges", [client.image(make_image(batch=2))])
    said = answer.get_response()
    given = said["parameters"] if client.is_http else dict(said.parameters)
    read = (
        (lambda v: v)
        if client.is_http
        else (lambda v: getattr(v, v.WhichOneof("parameter_choice")))
    )
    parameters = {name: read(value) for name, value in given.items()}
    assert parameters["task"] == "edges"
    assert parameters["batch_size"] == 2
    assert parameters["queue_us"] >= 0
    assert parameters["compute_us"] > 0
    assert type(parameters["switched"]) is bool


def test_pixels_are_normalised_as_by_the_session(client: Client, session: Session) -> None:
    pixels = np.random.default_rng(8).integers(0, 256, (2, 24, 48, 3), np.uint8)
    answer = client.infer("random:depth", [client.image(pixels, "UINT8")])
    normalised = load_pictures(pixels, session.card)
    expected = session.run_normalised(normalised, "depth")
    np.testing.assert_array_equal(answer.as_numpy("output"), expected)


@pytest.mark.parametrize("kind", ["http", "http-asyncio"])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
@pytest.mark.parametrize(
    ("binary_in", "binary_out"), [(False, False), (False, True), (True, False)]
)
def test_tensors_in_json_lose_nothing(
    server: Any, session: Session, kind: str, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    client = Client(kind, server)
    random = np.random.default_rng(2)
    if datatype == "FP32":
        image = normalised = random.normal(size=(1, 3, 48, 40)).astype(np.float32)
    else:
        image = random.integers(0, 256, (1, 48, 40, 3), np.uint8)
        normalised = load_pictures(image, session.card)
    answer = client.infer(
        "random",
        [client.image(image, datatype, binary_in)],
        outputs=[client.output(binary_out)],
        parameters={"task": "rooms"},
    )
    assert ("data" in answer.get_output("output")) == (not binary_out)
    expected = session.run_normalised(normalised, "rooms")
    np.testing.assert_array_equal(answer.as_numpy("output"), expected)


@pytest.mark.parametrize("kind", ["grpc", "grpc-asyncio"])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_numbers_in_messages_lose_nothing(
    server: Any, session: Session, kind: str, datatype: str
) -> None:
    client = Client(kind, server)
    random = np.random.default_rng(2)
    made = client.tensors.InferInput("image", [1, 3, 16, 24], datatype)
    contents = made._get_tensor().contents
    if datatype == "FP32":
        normalised = random.normal(size=(1, 3, 16, 24)).astype(np.float32)
        contents.fp32_contents.extend(normalised.ravel().tolist())
    else:
        made.set_shape([1, 16, 24, 3])
        pixels = random.integers(0, 256, (1, 16, 24, 3), np.uint8)
        contents.uint_contents.extend(pixels.ravel().tolist())
        normalised = load_pictures(pixels, session.card)
    answer = client.infer("random:edges", [made])
    expected = session.run_normalised(normalised, "edges")
    np.testing.assert_array_equal(answer.as_numpy("output"), expected)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("kind", "binary"),
    [*((kind, True) for kind in CLIENTS), ("http", False), ("http-asyncio", False)],
)
def test_bodies_and_answers_may_be_compressed(
    server: Any,
    session: Session,
    make_image: MakeImage,
    algorithm: str,
    kind: str,
    binary: bool,
) -> None:
    client = Client(kind, server)
    image = make_image(batch=2)
    image[:, 1] = 0.25
    names = ("request_compression_algorithm", "response_compression_algorithm")
    options = dict.fromkeys(names if client.is_http else ("compression_algorithm",), algorithm)
    given, wanted = client.image(image, binary=binary), client.output(binary)
    answer = client.infer("random:rooms", [given], outputs=[wanted], **options)
    np.testing.assert_array_equal(answer.as_numpy("output"), session.run_normalised(image, "rooms"))


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_requests_started_together_are_all_answered(
    server: Any, session: Session, make_image: MakeImage, kind: str
) -> None:
    tasks = ["rooms", "depth", "normals", "edges"] * 3
    images = [make_image(seed=seed) for seed in range(len(tasks))]
    client = Client(kind, server)
    module = CLIENTS[kind][0]
    options = {"concurrency": 6} if client.is_http else {}
    with contextlib.closing(module.InferenceServerClient(client._url, **options)) as open_client:
        if client.is_http:
            waiting = [
                open_client.async_infer(f"random:{task}", [client.image(image)])
                for task, image in zip(tasks, images, strict=True)
            ]
            answers = [one.get_result() for one in waiting]
        else:
            futures = [Future[Any]() for _ in tasks]
            for task, image, future in zip(tasks, images, futures, strict=True):
                open_client.async_infer(
                    f"random:{task}",
                    [client.image(image)],
                    callback=lambda result, error, future=future: future.set_result(
                        error or result
                    ),
                )
            answers = [future.result(30) for future in futures]
    for task, image, answer in zip(tasks, images, answers, strict=True):
        expected = session.run_normalised(image, task)
        np.testing.assert_array_equal(answer.as_numpy("output"), expected)


def test_a_stream_answers_in_order_and_outlives_a_wrong_request(
    server: Any, session: Session, make_image: MakeImage
) -> None:
    tasks = ["rooms", "depth", "nothing", "edges", "normals", "depth", "rooms"]
    answers: list[tuple[Any, Any]] = []
    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc)) as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        for number, task in enumerate(tasks):
            image = tritonclient.grpc.InferInput("image", [1, 3, 24, 40], "FP32")
            image.set_data_from_numpy(make_image(seed=number))
            client.async_stream_infer(
                "random", [image], request_id=str(number), parameters={"task": task}
            )
        client.stop_stream()
    assert len(answers) == len(tasks)
    for number, (task, (result, error)) in enumerate(zip(tasks, answers, strict=True)):
        if task == "nothing":
            assert "has no task 'nothing'" in str(error)
            continue
        assert error is None
        assert result.get_response().id == str(number)
        expected = session.run_normalised(make_image(seed=number), task)
        np.testing.assert_array_equal(result.as_numpy("output"), expected)


def test_health(client: Client) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("random") is True
    assert client.is_model_ready("random", "1") is True
    assert client.is_model_ready("random:depth") is True
    assert client.is_model_ready("random:nothing") is False
    assert client.is_model_ready("random", "2") is False
    assert client.is_model_ready("nothing") is False


def test_server_metadata(client: Client) -> None:
    said = as_dict(client, client.get_server_metadata())
    assert said["name"] == "gearshift"
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(said["extensions"])


def test_model_metadata(client: Client) -> None:
    said = as_dict(client, client.get_model_metadata("random"))
    assert said["name"] == "random"
    assert [str(version) for version in said["versions"]] == ["1"]
    assert said["platform"].startswith("gearshift_")
    assert said["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]
    assert said["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, -1, -1, -1]}]
    one_task = as_dict(client, client.get_model_metadata("random:rooms", "1"))
    assert one_task["outputs"][0]["shape"] == [-1, 4, -1, -1]


def test_model_config(client: Client) -> None:
    said = as_dict(client, client.get_model_config("random:depth"))
    said = said if client.is_http else said["config"]
    assert said["max_batch_size"] == 8
    assert said["input"][0]["name"] == "image"
    assert said["input"][0]["data_type"] == "TYPE_FP32"
    assert said["input"][0]["dims"] == [3, -1, -1]
    assert said["output"][0]["dims"] == [1, -1, -1]
    assert said["model_transaction_policy"] == {"decoupled": False}
    assert "dynamic_batching" in said
    assert said["parameters"]["tasks"]["string_value"] == "rooms,depth,normals,edges"
    assert said["parameters"]["task"]["string_value"] == "depth"


def test_statistics_count_requests_and_images(client: Client, make_image: MakeImage) -> None:
    def counted(name: str = "random") -> tuple[int, int, int, int]:
        said = as_dict(client, client.get_inference_statistics(name))["model_stats"]
        assert [entry["name"] for entry in said] == ["random"]
        entry = said[0]
        success, compute = (entry["inference_stats"][key] for key in ("success", "compute_infer"))
        batches = sum(batch["compute_infer"]["count"] for batch in entry["batch_stats"])
        assert batches == entry["execution_count"]
        return success["count"], entry["inference_count"], success["ns"], compute["ns"]

    before = counted()
    client.infer("random:depth", [client.image(make_image(batch=3))])
    after = counted("")
    assert after[0] == before[0] + 1
    assert after[1] == before[1] + 3
    # A loop's clock may count whole milliseconds, where the run is timed exactly.
    assert after[2] - before[2] + 2_000_000 > after[3] - before[3] > 0


def test_repository_index(client: Client) -> None:
    said = client.get_model_repository_index()
    models = said if client.is_http else as_dict(client, said)["models"]
    assert len(models) == 1
    model = models[0]
    assert (model["name"], str(model["version"]), model["state"]) == ("random", "1", "READY")


def test_clients_may_not_load_unless_allowed(client: Client) -> None:
    for call in (client.load_model, client.unload_model):
        with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
            call("random")
        assert "--allow-reload" in str(caught.value)
        assert ("403" if client.is_http else "PERMISSION_DENIED") in caught.value.status()
    assert client.is_model_ready("random", "1")


@pytest.mark.parametrize("kind", CLIENTS)
def test_models_are_loaded_and_unloaded(
    start_server: Callable[..., Any], make_image: MakeImage, kind: str
) -> None:
    client = Client(kind, start_server(allow_reload=True))
    client.load_model("random")
    assert client.is_model_ready("random", "2")
    assert not client.is_model_ready("random", "1")
    answer = client.infer("random:depth", [client.image(make_image())])
    assert str(as_dict(client, answer.get_response())["model_version"]) == "2"
    with pytest.raises(tritonclient.utils.InferenceServerException, match="no parameters"):
        client.load_model("random", config='{"backend": "torch"}')
    client.unload_model("random")
    assert not client.is_model_ready("random")
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer("random:depth", [client.image(make_image())])
    assert ("503" if client.is_http else "UNAVAILABLE") in caught.value.status()
    client.load_model("random")
    assert client.is_model_ready("random", "3")


def test_shared_memory_is_refused_in_words(client: Client) -> None:
    with pytest.raises(tritonclient.utils.InferenceServerException, match="no shared memory"):
        client.register_system_shared_memory("region", "/region", 64)
    with pytest.raises(tritonclient.utils.InferenceServerException, match="no shared memory"):
        client.get_cuda_shared_memory_status()
    image = client.tensors.InferInput("image", [1, 3, 24, 40], "FP32")
    image.set_shared_memory("region", 1 * 3 * 24 * 40 * 4)
    with pytest.raises(tritonclient.utils.InferenceServerException, match="no shared memory"):
        client.infer("random:depth", [image])

"""Our messages against those in NVIDIA's client: the same bytes mean the same."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from gearshift.server.oip.generated import inference_pb2

THEIRS = (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)


def find(kind: str, name: str) -> Descriptor | EnumDescriptor:
    for file in THEIRS:
        if name in getattr(file, kind):
            return getattr(file, kind)[name]
    raise AssertionError(f"the protocol has no {name}")


def all_messages() -> Iterator[tuple[Descriptor, Descriptor]]:
    waiting = [
        (ours, find("message_types_by_name", name))
        for name, ours in inference_pb2.DESCRIPTOR.message_types_by_name.items()
    ]
    while waiting:
        ours, theirs = waiting.pop()
        yield ours, theirs
        waiting += [(one, theirs.nested_types_by_name[one.name]) for one in ours.nested_types]


PAIRS = list(all_messages())


def described(field: FieldDescriptor) -> tuple[object, ...]:
    message = field.message_type and field.message_type.full_name.removeprefix("gearshift.")
    enum = field.enum_type and field.enum_type.full_name.removeprefix("gearshift.")
    oneof = field.containing_oneof and field.containing_oneof.name
    return field.name, field.number, field.type, field.is_repeated, message, enum, oneof


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[ours.full_name for ours, _ in PAIRS])
def test_every_field_is_the_protocols(ours: Descriptor, theirs: Descriptor) -> None:
    known = {described(field) for field in theirs.fields}
    assert {described(field) for field in ours.fields} <= known
    assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry


def test_messages_of_inference_lack_nothing() -> None:
    for ours, theirs in PAIRS:
        if "Infer" in ours.name and "Statistics" not in ours.name:
            assert len(ours.fields) == len(theirs.fields), ours.full_name


def test_datatypes_have_the_protocols_numbers() -> None:
    ours = inference_pb2.DESCRIPTOR.enum_types_by_name["DataType"]
    theirs = find("enum_types_by_name", "DataType")
    assert {v.name: v.number for v in ours.values} == {v.name: v.number for v in theirs.values}


def test_methods_are_the_protocols() -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for ours in inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        method = theirs.methods_by_name[ours.name]
        assert ours.input_type.name == method.input_type.name
        assert ours.output_type.name == method.output_type.name
        assert ours.client_streaming == method.client_streaming
        assert ours.server_streaming == method.server_streaming


@pytest.mark.parametrize(
    "first", ["gearshift.server.oip.generated.inference_pb2", "tritonclient.grpc"]
)
def test_server_and_client_load_in_one_process_in_either_order(first: str) -> None:
    names = ["gearshift.server.oip.generated.inference_pb2", "tritonclient.grpc"]
    names.sort(key=lambda name: name != first)
    script = "; ".join(f"import {name}" for name in names)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_generated_code_is_not_behind_the_proto_file() -> None:
    text = importlib.resources.files("gearshift.server.oip").joinpath("inference.proto").read_text()
    lines = [line.partition("//")[0].strip() for line in text.splitlines()]
    messages = [line.split()[1] for line in lines if line.startswith("message ")]
    made = {ours.name for ours, _ in PAIRS}
    assert set(messages) <= made
    numbers = sum("= " in line and line.endswith(";") and "syntax" not in line for line in lines)
    fields = sum(len(ours.fields) for ours, _ in PAIRS if not ours.GetOptions().map_entry) + len(
        inference_pb2.DataType.values()
    )
    assert numbers == fields

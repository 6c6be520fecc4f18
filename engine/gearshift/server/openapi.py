"""The server's HTTP interface as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

Json = dict[str, Any]

ERROR: Json = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "What was wrong, and the remedy."}},
    "required": ["error"],
}
ERRORS = {
    "400": "The request means nothing; the text says what and why.",
    "401": "The API key is missing or wrong.",
    "403": "This server was not started to allow that, or a page of another site asked.",
    "404": "No such model, version or task.",
    "413": "Over a limit of size.",
    "429": "A queue is full; Retry-After has the seconds after which a place is expected.",
    "503": "The model is loading, or the server is ending.",
    "504": "The request's own timeout was over.",
}
REFUSALS = ("400", "401", "403", "404", "413", "429", "503", "504")
PICTURE = {"schema": {"type": "string", "format": "binary"}}
MODEL = {"model": "A model's name."}
VERSION = {**MODEL, "version": "A version of it; each reload makes one."}
INFER = """\
A request of the Open Inference Protocol. Input `image` is FP32 [N,3,H,W], normalised as the model's
metadata say, or UINT8 [N,H,W,3], raw pixels. Parameters are `task`, `priority` (1 is the most
urgent level, 0 stands for the default one) and `timeout` in microseconds. A model named
`model:task` needs no parameter. With the header `Inference-Header-Content-Length`, tensors follow
the JSON as bytes."""


def document() -> Json:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gearshift",
            "version": version("gearshift"),
            "description": "Single tasks of multitask mixture-of-experts vision transformers.",
        },
        "paths": {**_pictures(), **_protocol(), **_operations()},
        "components": {
            "schemas": {"Error": ERROR, "Picture": _picture_answer()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _operation(
    tag: str,
    summary: str,
    *,
    path: Mapping[str, str] | None = None,
    query: Sequence[Json] = (),
    body: Json | None = None,
    answers: Json | None = None,
    refusals: Sequence[str] = (),
    text: str = "",
) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "description": what, **_string()}
        for name, what in (path or {}).items()
    ]
    good = {"200": {"description": "Done.", "content": answers or _json_object()}}
    bad = {
        status: {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status in refusals
    }
    operation: Json = {"tags": [tag], "summary": summary, "responses": {**good, **bad}}
    if text:
        operation["description"] = text
    if parameters or query:
        operation["parameters"] = [*parameters, *query]
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _pictures() -> Json:
    task = {**MODEL, "task": "One of the model's tasks."}
    form = {
        "type": "object",
        "properties": {"image": PICTURE["schema"]},
        "required": ["image"],
    }
    body = {
        "image/jpeg": PICTURE,
        "image/png": PICTURE,
        "multipart/form-data": {"schema": form},
    }
    answers = {
        "image/png": PICTURE,
        "application/json": {"schema": {"$ref": "#/components/schemas/Picture"}},
    }
    query = [
        _query("format", "png or json; without it the header Accept decides.", ["png", "json"]),
        _query("picture", "JSON holds the picture as a data URL.", ["true", "false"]),
        _query("size", "The picture at the input's size or the model's.", ["input", "model"]),
        {
            "name": "timeout",
            "in": "query",
            "description": "Seconds from its begin after which the request is not run any more.",
            "schema": _number(),
        },
        {
            "name": "priority",
            "in": "query",
            "description": "1 is the most urgent level, 0 stands for the default one.",
            "schema": {"type": "integer"},
        },
    ]
    run = _operation(
        "Pictures",
        "Run one task of a JPEG or PNG",
        path=task,
        query=query,
        body=body,
        answers=answers,
        refusals=REFUSALS,
        text="curl --data-binary @photo.jpg localhost:8000/v1/demo/depth -o depth.png",
    )
    models = _operation("Pictures", "Models and their tasks", refusals=("401",))
    return {"/v1": {"get": models}, "/v1/{model}/{task}": {"post": run}}


def _protocol() -> Json:
    tag = "Open Inference Protocol"

    def get(summary: str, path: Mapping[str, str] | None = None) -> Json:
        refusals = ("401", "404") if path else ("401",)
        return {"get": _operation(tag, summary, path=path, refusals=refusals)}

    def infer(path: Mapping[str, str]) -> Json:
        body = {"application/json": _object(), "application/octet-stream": PICTURE}
        done = _operation(
            tag, "Run one task of tensors", path=path, body=body, answers=body,
            refusals=REFUSALS, text=INFER,
        )  # fmt: skip
        return {"post": done}

    def change(summary: str) -> Json:
        refusals = ("401", "403", "404", "503")
        return {"post": _operation(tag, summary, path=MODEL, refusals=refusals)}

    paths: Json = {
        "/v2": get("The server, and the extensions that it has"),
        "/v2/health/live": get("Whether the server answers"),
        "/v2/health/ready": get("Whether every model is warm"),
        "/v2/models/stats": get("All models' requests and their times so far"),
    }
    for base, path in (
        ("/v2/models/{model}", MODEL),
        ("/v2/models/{model}/versions/{version}", VERSION),
    ):
        paths[base] = get("A model's inputs and outputs", path)
        paths[f"{base}/ready"] = get("Whether a model is warm", path)
        paths[f"{base}/config"] = get("A model's configuration", path)
        paths[f"{base}/stats"] = get("A model's requests and their times so far", path)
        paths[f"{base}/infer"] = infer(path)
    index = _operation(tag, "The models, and their states", refusals=("401",))
    paths["/v2/repository/index"] = {"post": index}
    paths["/v2/repository/models/{model}/load"] = change(
        "Load a model again, beside the old one, and take its place (--allow-reload)"
    )
    paths["/v2/repository/models/{model}/unload"] = change("Unload a model (--allow-reload)")
    return paths


def _operations() -> Json:
    text = {"text/plain": {"schema": {"type": "string"}}}
    tag = "Operations"
    return {
        "/live": {"get": _operation(tag, "Whether the server answers")},
        "/ready": {"get": _operation(tag, "Whether every model is warm", refusals=("503",))},
        "/metrics": {
            "get": _operation(tag, "Metrics for Prometheus", answers=text, refusals=("401",))
        },
    }


def _picture_answer() -> Json:
    amount = {"type": "object", "additionalProperties": _number()}
    entry = {
        "type": "object",
        "properties": {"label": _text(), "colour": _text(), "share": _number()},
    }
    counts = {"type": "array", "items": {"type": "integer"}}
    return {
        "type": "object",
        "properties": {
            "model": _text(),
            "version": _text(),
            "task": _text(),
            "kind": _text(["segmentation", "depth", "normals", "probability", "tokens"]),
            "result": {"type": "object", "description": "A few numbers, by the task's kind."},
            "legend": {"type": "array", "items": entry},
            "scale": {"type": ["object", "null"], "description": "What the colours mean."},
            "timing_ms": {**amount, "description": "decode, queue, compute, encode."},
            "batch_size": {"type": "integer"},
            "switched": {"type": "boolean", "description": "Another task ran before."},
            "experts": {
                "type": ["object", "null"],
                "description": "Tokens of each expert, by the block.",
                "additionalProperties": counts,
            },
            "picture": {"type": ["string", "null"], "description": "A data URL of a PNG."},
        },
    }


def _query(name: str, what: str, choices: list[str]) -> Json:
    return {"name": name, "in": "query", "description": what, "schema": _text(choices)}


def _string() -> Json:
    return {"schema": _text()}


def _text(choices: list[str] | None = None) -> Json:
    return {"type": "string", "enum": choices} if choices else {"type": "string"}


def _number() -> Json:
    return {"type": "number"}


def _object() -> Json:
    return {"schema": {"type": "object"}}


def _json_object() -> Json:
    return {"application/json": _object()}

"""The OpenAPI document: everything is described, has an example, and can be tried as it stands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.running_server import RunningServer

OVER_AND_OUT = ("POST /jobs/{job}/cancel",)
"""What the document's own story ends: it is answered by a documented conflict, because the job is over by then."""


ORDINARY = {
    "cache-control", "connection", "content-length", "content-security-policy", "content-type",
    "cross-origin-resource-policy", "date", "last-modified", "referrer-policy", "server",
    "transfer-encoding", "vary", "x-accel-buffering", "x-content-type-options", "x-frame-options",
}  # fmt: skip
"""Headers of replies that no client of this service in particular goes by."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("document")))
    app.api.state.services.close()
    return json.loads(json.dumps(app.api.openapi()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def fields(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in document["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            # A bare reference shows the description of what it refers to.
            yield f"{name}.{field}", {**referred(document, about), **about}
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            yield f"{method} {path} {parameter['name']}", {**parameter.get("schema", {}), **parameter}


def referred(document: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in about:
        return {}
    schema: dict[str, Any] = document["components"]["schemas"][about["$ref"].rsplit("/", 1)[1]]
    return {"description": schema.get("description")}


def is_composed(about: dict[str, Any]) -> bool:
    """A field that is an object of its own shows the examples of its parts."""
    parts = [about, about.get("items", {}), *about.get("anyOf", ()), *about.get("oneOf", ()), *about.get("allOf", ())]
    items = [part.get("items", {}) for part in parts]
    deeper = [item.get("items", {}) for item in items]
    return any("$ref" in part for part in [*parts, *items, *deeper])


def test_every_field_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    undescribed = [name for name, about in fields(document) if not about.get("description")]
    without_example = [
        name
        for name, about in fields(document)
        if not is_composed(about) and "examples" not in about and "const" not in about
    ]
    assert undescribed == []
    assert without_example == []


def test_every_call_has_a_summary_a_description_and_its_errors(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation.get("summary"), where
        assert operation.get("description"), where
        for status, reply in operation["responses"].items():
            if status.startswith(("4", "5")) and path != "/readyz":
                assert list(reply["content"]) == ["application/problem+json"], f"{where} {status}"
        assert "HTTPValidationError" not in json.dumps(operation), where


@pytest.mark.parametrize(
    ("method", "path", "status", "header"),
    [
        ("post", "/datasets", "201", "Location"),
        ("post", "/jobs", "202", "Location"),
        ("post", "/jobs/{job}/replay", "200", "Location"),
        ("post", "/models", "201", "Location"),
        ("post", "/jobs", "429", "Retry-After"),
        ("post", "/jobs", "409", "Retry-After"),
        ("get", "/jobs/{job}", "503", "Retry-After"),
        ("get", "/jobs/{job}", "202", "ETag"),
        ("get", "/jobs/{job}/history", "304", "ETag"),
        ("get", "/jobs/{job}", "200", "Preference-Applied"),
        ("post", "/models/{model}/predictions", "200", "Preference-Applied"),
        ("post", "/predict", "200", "Idempotency-Replayed"),
        ("get", "/healthz", "200", "X-Request-ID"),
        ("delete", "/jobs/{job}", "404", "X-Request-ID"),
        ("post", "/jobs", "401", "WWW-Authenticate"),
        ("get", "/models/{model}/export", "200", "Content-Disposition"),
        ("get", "/jobs/{job}/predictions", "416", "Content-Range"),
        ("post", "/v2/models/{model}/infer", "200", "Inference-Header-Content-Length"),
    ],
)
def test_a_header_that_clients_go_by_is_documented(
    document: dict[str, Any], method: str, path: str, status: str, header: str
) -> None:
    about = document["paths"][path][method]["responses"][status]["headers"][header]
    assert about == {"$ref": f"#/components/headers/{header}"}
    described = document["components"]["headers"][header]
    assert described["description"]
    assert described["schema"]["examples"]


@pytest.mark.parametrize(
    ("method", "path", "status", "header"),
    [
        ("get", "/jobs", "200", "Location"),
        ("post", "/datasets", "200", "Location"),
        ("get", "/models/{model}", "200", "ETag"),
        ("get", "/jobs/{job}", "200", "Idempotency-Replayed"),
        ("post", "/jobs", "422", "Idempotency-Replayed"),
        ("post", "/predict", "200", "Inference-Header-Content-Length"),
    ],
)
def test_a_header_is_not_documented_where_no_reply_has_it(
    document: dict[str, Any], method: str, path: str, status: str, header: str
) -> None:
    assert header not in document["paths"][path][method]["responses"][status]["headers"]


def test_tensors_as_bytes_are_documented_in_both_directions(document: dict[str, Any]) -> None:
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        call = document["paths"][path]["post"]
        assert "application/octet-stream" in call["requestBody"]["content"]
        assert set(call["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
        assert "Inference-Header-Content-Length" in [parameter["name"] for parameter in call["parameters"]]


def test_the_example_of_metrics_names_metrics_that_models_have(document: dict[str, Any]) -> None:
    (example,) = document["components"]["schemas"]["ModelBody"]["properties"]["metrics"]["examples"]
    assert set(example["train"]) == {"mse", "rmse", "mae", "r2"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    known = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in document["components"][kind]}
    assert set(references(document)) <= known


def test_every_call_can_be_tried_as_the_document_shows_it(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    order = {"POST": 0, "GET": 1, "PUT": 2, "PATCH": 2, "DELETE": 3}
    # The newest job is drawn while it is one that trains.
    story = ["/datasets", "/jobs", "/models", "/predict", "/jobs/{job}/plot"]

    def place(call: tuple[str, str, dict[str, Any]]) -> tuple[int, int, int]:
        method, path, _ = call
        if path in story:
            return 0, story.index(path), order[method]
        return order[method], len(story), -path.count("{")

    with RunningServer(tmp_path_factory.mktemp("tried") / "data") as server:
        for method, path, operation in sorted(operations(document), key=place):
            if method == "DELETE" and path == "/models/{model}":
                continue  # tried last, below
            if "multipart/form-data" in operation.get("requestBody", {}).get("content", {}) and path == "/models":
                continue  # needs a file that the document cannot show
            expected = "409" if f"{method} {path}" in OVER_AND_OUT else "2"
            for reply in (try_it(server, document, method, path, operation), *try_texts(server, path, operation)):
                status = str(reply.status_code)
                assert status.startswith(expected), f"{method} {path}: {status} {reply.text}"
                assert status in operation["responses"], f"{method} {path}: {status} is not documented"
                check_headers(document, reply, operation["responses"][status])
        assert server.client.delete("/models/line").status_code == 204


def try_it(
    server: RunningServer, document: dict[str, Any], method: str, path: str, operation: dict[str, Any]
) -> httpx.Response:
    given: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation.get("parameters", ()):
        example = (parameter.get("examples") or parameter["schema"].get("examples") or [None])[0]
        if example is not None:
            given[parameter["in"]][parameter["name"]] = example
    headers = {name: str(value) for name, value in given["header"].items()}
    url = path.format(**given["path"])
    if "multipart/form-data" in operation.get("requestBody", {}).get("content", {}) and path == "/models":
        exported = server.client.get("/models/line/export", params={"format": "json"})
        return server.client.post(url, files={"file": exported.content})
    return server.client.request(method, url, params=given["query"], headers=headers, json=body(document, operation))


def try_texts(server: RunningServer, path: str, operation: dict[str, Any]) -> Iterator[httpx.Response]:
    """The replies to every body that is a text."""
    options = {"model": "line"} if path == "/predict" else {"dry_run": "true"}
    for media_type, about in operation.get("requestBody", {}).get("content", {}).items():
        if media_type.startswith("text/") or "example" in about:
            headers = {"Content-Type": media_type}
            yield server.client.post(path, params=options, headers=headers, content=about["example"])


def check_headers(document: dict[str, Any], reply: httpx.Response, about: dict[str, Any]) -> None:
    """A reply has the headers that it is to have, and none that its client is not told of."""
    headers = document["components"]["headers"]
    described = {name.lower(): headers[name] for name in about["headers"]}
    assert {name for name, header in described.items() if header["required"]} <= set(reply.headers), reply.url
    assert set(reply.headers) - ORDINARY <= set(described), reply.url


def body(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema["examples"][0]


def test_the_page_that_shows_it_loads_nothing_from_elsewhere(server: RunningServer) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("<!doctype html>", "")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"):
        assert f"docs/{file}" in page.text
        assert server.client.get(f"/docs/{file}").status_code == 200
    assert server.client.get("/openapi.json").json()["openapi"] == "3.2.0"


def test_who_opens_the_address_alone_is_led_to_the_page(server: RunningServer) -> None:
    reply = server.client.get("/", follow_redirects=True)
    assert [(step.status_code, step.url.path) for step in reply.history] == [(307, "/")]
    assert reply.url.path == "/docs"
    assert reply.status_code == 200


def test_settings_have_descriptions() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert Settings(data_dir=Path("x")).resolved_database_url.endswith("x/onelayer.db")

"""POST /predict: every kind of body and reply says the same, and names what is wrong with its rows."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from tests.running_server import RunningServer

CSV, ARROW, NPY = "text/csv", "application/vnd.apache.arrow.stream", "application/x-npy"
NOISE: dict[str, Any] = {"type": "synthetic_linear", "weights": [2, -3.4, 0.5], "bias": 4.2, "noise_std": 3.0}


@pytest.fixture(scope="module", autouse=True)
def _models(server: RunningServer, real_data: Path) -> None:
    server.create_dataset({**NOISE, "rows": 2000}, name="predict-line")
    server.train(dataset="predict-line", model="linear", model_name="predict-line", epochs=2)
    content = (real_data / "penguins.csv").read_bytes()
    options = {"name": "predict-penguins", "target": "species"}
    server.client.post("/datasets", params=options, content=content, headers={"Content-Type": CSV})
    server.train(dataset="predict-penguins", model="softmax", model_name="predict-penguins", epochs=20)
    records = [{"new": i % 3 == 0, "area": 40.0 + i, "price": 2.0 * i} for i in range(60)]
    server.create_dataset({"type": "records", "records": records}, name="predict-flats", target="price")
    server.train(dataset="predict-flats", model="linear", model_name="predict-flats", epochs=5)


def ask(server: RunningServer, **body: Any) -> Any:
    reply = server.client.post("/predict", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def send(
    server: RunningServer, content: bytes, kind: str, accept: str = "application/json", **options: Any
) -> httpx.Response:
    headers = {"Content-Type": kind, "Accept": accept}
    return server.client.post("/predict", params=options, content=content, headers=headers)


def penguins(server: RunningServer, limit: int = 60) -> list[dict[str, Any]]:
    items = server.client.get("/datasets/predict-penguins/rows", params={"limit": limit}).json()["items"]
    return [{name: value for name, value in row.items() if name != "species"} for row in items]


def as_csv(records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def as_arrow(records: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(records)
    table = table.set_column(0, table.column_names[0], table.column(0).dictionary_encode())
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table, max_chunksize=7)
    return sink.getvalue()


def as_npy(values: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array(values))
    return sink.getvalue()


def test_csv_and_arrow_say_what_json_says(server: RunningServer) -> None:
    records = penguins(server)
    outputs = ["probabilities", "contributions", "drift"]
    expected = ask(server, model="predict-penguins", records=records, outputs=outputs, top_k=2)
    for content, kind in ((as_csv(records), CSV), (as_arrow(records), ARROW)):
        reply = send(server, content, kind, model="predict-penguins", outputs=",".join(outputs), top_k=2)
        assert reply.json() == expected, kind


def test_npy_says_what_json_says(server: RunningServer) -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    expected = ask(server, model="predict-line", instances=X.tolist(), outputs=["interval"])
    reply = send(server, as_npy(X), NPY, model="predict-line", outputs="interval")
    assert reply.json() == expected
    plain = np.load(io.BytesIO(send(server, as_npy(X), NPY, NPY, model="predict-line").content))
    np.testing.assert_array_equal(plain, expected["predictions"])


def test_replies_come_as_csv_arrow_and_npy(server: RunningServer) -> None:
    records = penguins(server)
    options = {"model": "predict-penguins", "outputs": "probabilities"}
    expected = ask(server, model="predict-penguins", records=records, outputs=["probabilities"])
    classes = server.client.get("/models/predict-penguins").json()["classes"]
    text = send(server, as_csv(records), CSV, CSV, **options)
    assert text.headers["content-type"].startswith(CSV)
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert [row["prediction"] for row in rows] == expected["predictions"]
    probabilities = [[float(row[f"probability:{name}"]) for name in classes] for row in rows]
    np.testing.assert_allclose(probabilities, expected["probabilities"], rtol=1e-12)
    table = pa.ipc.open_stream(send(server, as_csv(records), CSV, ARROW, **options).content).read_all()
    assert table["prediction"].to_pylist() == expected["predictions"]
    array = np.load(io.BytesIO(send(server, as_csv(records), CSV, NPY, **options).content))
    np.testing.assert_array_equal(array, expected["probabilities"])
    classes_alone = send(server, as_csv(records), CSV, NPY, model="predict-penguins")
    assert np.load(io.BytesIO(classes_alone.content)).tolist() == expected["predictions"]
    assert send(server, as_csv(records), CSV, "image/png", **options).status_code == 406
    assert send(server, as_csv(records), CSV, NPY, model="predict-penguins", top_k=2).status_code == 406


def line(text: str) -> tuple[bytes, str, str]:
    return text.encode(), CSV, "predict-line"


BAD: dict[str, tuple[tuple[bytes, str, str], int, str | None]] = {
    "a missing column": (line("x1,x2\n1,2\n"), 422, "column x3"),
    "an unknown column": (line("x1,x2,x3,z\n1,2,3,4\n"), 422, "column z"),
    "a column that stands twice": (line("x1,x2,x3,x3\n1,2,3,4\n"), 422, "column x3"),
    "a text for a number": (line("x1,x2,x3\n1,2,3\n1,two,3\n"), 422, "row 2, column x2"),
    "infinity": (line("x1,x2,x3\n1,2,inf\n"), 422, "row 1, column x3"),
    "an overflow": (line("x1,x2,x3\n1,2,1e999\n"), 422, "row 1, column x3"),
    "a ragged row": (line("x1,x2,x3\n1,2,3\n1,2\n"), 422, "row 2"),
    "Latin-1": ((b"x1,x2,x3\n1,2,\xe9\n", CSV, "predict-line"), 422, "line 2"),
    "a header alone": (line("x1,x2,x3\n"), 422, "body"),
    "no CSV at all": (line(""), 422, "body"),
    "a boolean that is none": ((b"new,area\nmaybe,3\n", CSV, "predict-flats"), 422, "row 1, column new"),
    "text in Arrow": ((as_arrow([{"x1": "a", "x2": 1.0, "x3": 1.0}]), ARROW, "predict-line"), 422, "row 1, column x1"),
    "NaN in Arrow": (
        (as_arrow([{"x1": 1.0, "x2": 1.0, "x3": float("nan")}]), ARROW, "predict-line"), 422, "row 1, column x3",
    ),
    "half an Arrow stream": ((as_arrow([{"x1": 1.0, "x2": 1.0, "x3": 1.0}])[:200], ARROW, "predict-line"), 400, None),
    "a wrong width in NPY": ((as_npy([[1.0, 2.0]]), NPY, "predict-line"), 422, "row 1"),
    "NaN in NPY": ((as_npy([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]]), NPY, "predict-line"), 422, "row 2, column x2"),
    "infinity in NPY": ((as_npy([[1.0, 2.0, np.inf]]), NPY, "predict-line"), 422, "row 1, column x3"),
    "one number in NPY": ((as_npy(1.0), NPY, "predict-line"), 422, "body"),
    "a name in Arrow that is no text": (
        (as_arrow([{"x1": 1.0, "x2": 1.0, "x3": 1.0}]).replace(b"x3", b"x\xff"), ARROW, "predict-line"), 400, None,
    ),
    "half an NPY": ((as_npy([[1.0, 2.0, 3.0]])[:-3], NPY, "predict-line"), 400, None),
    "a pickle": ((b"\x80\x04\x95\x05\x00", NPY, "predict-line"), 400, None),
    "no rows in NPY": ((as_npy(np.zeros((0, 3))), NPY, "predict-line"), 422, "instances"),
    "another media type": ((b"x", "application/pdf", "predict-line"), 415, None),
    "a model that is not there": ((b"x1\n1\n", CSV, "nobody"), 404, None),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_by_row_and_column(server: RunningServer, case: str) -> None:
    (content, kind, model), status, location = BAD[case]
    check(send(server, content, kind, model=model), status, location)


def check(reply: httpx.Response, status: int, location: str | None) -> None:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    if location is not None:
        assert reply.json()["errors"][0]["location"] == location, reply.text


BODIES: dict[str, tuple[str, int, str | None]] = {
    "no rows": ('{"model": "predict-line", "instances": []}', 422, "instances"),
    "no records": ('{"model": "predict-line", "records": []}', 422, "records"),
    "a column that no record has": ('{"model": "predict-line", "records": [{"x1": 1}]}', 422, "row 1, column x2"),
    "NaN": ('{"model": "predict-line", "instances": [[1, 2, NaN]]}', 422, "row 1, column x3"),
    "Infinity": ('{"model": "predict-line", "instances": [[1, 2, 3], [1, -Infinity, 3]]}', 422, "row 2, column x2"),
    "probabilities of a number": (
        '{"model": "predict-line", "instances": [[1, 2, 3]], "outputs": ["probabilities"]}', 422, "outputs",
    ),
    "an interval of classes": (
        '{"model": "predict-penguins", "records": [{}], "outputs": ["interval"]}', 422, "row 1, column island",
    ),
    "an unknown output": (
        '{"model": "predict-line", "instances": [[1, 2, 3]], "outputs": ["gradient"]}', 422, "outputs[0]",
    ),
    "more classes than there are": (
        '{"model": "predict-penguins", "instances": [["Biscoe", 1, 2, 3, 4, "MALE"]], "top_k": 9}', 422, "top_k",
    ),
    "a level above one": (
        '{"model": "predict-line", "instances": [[1, 2, 3]], "interval_level": 1.5}', 422, "interval_level",
    ),
    "a level without an interval": (
        '{"model": "predict-line", "instances": [[1, 2, 3]], "interval_level": 0.9}', 422, "interval_level",
    ),
    "a level without an interval, beside another output": (
        '{"model": "predict-line", "records": [{"x1": 1}], "outputs": ["drift"], "interval_level": 0.9}', 422,
        "interval_level",
    ),
    "a boolean beside numbers": ('{"model": "predict-line", "instances": [[1, 2, 3], [1, true, 3]]}', 422,
                                 "row 2, column x2"),
    "booleans alone": ('{"model": "predict-line", "instances": [[true, false, true]]}', 422, "row 1, column x1"),
    "a boolean in a number's place of a table that has booleans": (
        '{"model": "predict-flats", "instances": [[true, 50], [true, true]]}', 422, "row 2, column area",
    ),
    "rows nested beyond measure": (
        '{"model": "predict-line", "instances": ' + "[" * 600 + "]" * 600 + "}", 422, "body",
    ),
    "records nested beyond measure": (
        '{"model": "predict-line", "records": [{"x1": ' + "[" * 600 + "]" * 600 + "}]}", 422, "body",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_bad_json_bodies_are_refused_by_field(server: RunningServer, case: str) -> None:
    body, status, location = BODIES[case]
    reply = server.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    check(reply, status, location)


def test_an_unseen_category_is_unknown_and_a_boolean_has_many_spellings(server: RunningServer) -> None:
    row = penguins(server, 1)[0]
    unseen, missing = (
        ask(server, model="predict-penguins", records=[row | {"sex": sex}], outputs=["probabilities"])["probabilities"]
        for sex in ("neither", None)
    )
    assert unseen == missing
    reply = send(server, b"new,area\ntrue,50\n1,50\nTRUE,50\n,50\n", CSV, model="predict-flats").json()["predictions"]
    said = ask(server, model="predict-flats", records=[{"new": True, "area": 50}, {"new": None, "area": 50}])
    assert reply == [said["predictions"][0]] * 3 + [said["predictions"][1]]


def test_a_compressed_body_says_what_the_plain_one_says(server: RunningServer) -> None:
    body = json.dumps({"model": "predict-line", "instances": [[1, 2, 3]]}).encode()
    expected = ask(server, model="predict-line", instances=[[1, 2, 3]])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert server.client.post("/predict", content=gzip.compress(body), headers=headers).json() == expected
    check(server.client.post("/predict", content=body, headers=headers), 422, "body")
    check(server.client.post("/predict", content=body, headers={**headers, "Content-Encoding": "br"}), 415, None)


@pytest.mark.parametrize("output", ["interval", "contributions"])
def test_what_is_beyond_all_numbers_is_refused_and_not_null(server: RunningServer, output: str) -> None:
    large = [1.7e308, 1e308, 1.0] if output == "contributions" else [1e200, 1.0, 1.0]
    body = {"model": "predict-line", "instances": [[1, 2, 3], large], "outputs": [output]}
    check(server.client.post("/predict", json=body), 422, "row 2")


def test_a_million_rows_are_over_the_limit(server: RunningServer) -> None:
    body = json.dumps({"model": "predict-line", "instances": [[1, 2, 3]] * 1_000_000})
    reply = server.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    check(reply, 413, None)
    assert "POST /models/{model}/predictions" in reply.json()["detail"]
    many = as_npy(np.ones((1_000_000, 3), np.uint8))
    check(send(server, many, NPY, model="predict-line"), 413, None)
    check(send(server, b"x1,x2,x3\n" + b"1,2,3\n" * 1_000_000, CSV, model="predict-line"), 413, None)


def test_the_row_of_a_prediction_beyond_all_numbers_is_counted_through_all_batches(server: RunningServer) -> None:
    values = np.zeros((20_003, 3))
    values[20_000] = 1.7e308
    records = [dict(zip(("x1", "x2", "x3"), row, strict=True)) for row in values.tolist()]
    for content, kind in ((as_csv(records), CSV), (as_arrow(records), ARROW), (as_npy(values), NPY)):
        check(send(server, content, kind, model="predict-line"), 422, "row 20001")


def test_an_option_in_the_address_is_given_once_and_outputs_as_often_as_there_are(server: RunningServer) -> None:
    url, headers = "/predict?model=predict-line", {"Content-Type": CSV}
    content = b"x1,x2,x3\n1,2,3\n"
    reply = server.client.post(f"{url}&model=predict-flats", content=content, headers=headers)
    check(reply, 422, "model")
    reply = server.client.post(f"{url}&outputs=drift&outputs=interval", content=content, headers=headers)
    assert {"drift", "intervals"} <= reply.json().keys()


def test_the_accept_header_is_heard_whole(server: RunningServer) -> None:
    body = {"model": "predict-line", "instances": [[1, 2, 3]]}
    lines = [("Accept", "application/json;q=0"), ("Accept", "*/*")]
    reply = server.client.post("/predict", json=body, headers=lines)
    assert (reply.headers["content-type"].partition(";")[0], reply.headers["vary"]) == (CSV, "Accept")


def test_rows_of_a_table_with_booleans_may_hold_them(server: RunningServer) -> None:
    said = ask(server, model="predict-flats", instances=[[True, 50], [1, 50], [False, 50.5]])
    records = [{"new": True, "area": 50}, {"new": 1, "area": 50}, {"new": False, "area": 50.5}]
    assert said["predictions"] == ask(server, model="predict-flats", records=records)["predictions"]


def test_the_level_of_an_interval_that_a_job_is_not_to_tell_is_refused(server: RunningServer) -> None:
    body = {"dataset": "predict-line", "interval_level": 0.9}
    check(server.client.post("/models/predict-line/predictions", json=body), 422, "interval_level")


def test_options_in_the_address_of_a_json_body_are_refused_and_not_ignored(server: RunningServer) -> None:
    reply = server.client.post("/predict?top_k=3", json={"model": "predict-line", "instances": [[1, 2, 3]]})
    check(reply, 422, "query")


def test_the_charset_of_csv_to_predict_is_its_encoding(server: RunningServer) -> None:
    table = "ort,y\nköln,1\nbonn,2\nköln,1\nbonn,2\n"
    options = {"params": {"name": "predict-orte", "target": "y"}, "headers": {"Content-Type": "text/csv"}}
    assert server.client.post("/datasets", content=table.encode(), **options).status_code == 201
    server.train(dataset="predict-orte", model="linear", solver="exact", model_name="predict-orte")

    def ask(kind: str, **params: str) -> httpx.Response:
        body, asked = "ort\nköln\nbonn\n".encode("latin-1"), {"model": "predict-orte", **params}
        return server.client.post("/predict", params=asked, content=body, headers={"Content-Type": kind})

    for reply in (ask("text/csv; charset=iso-8859-1"), ask("text/csv", encoding="latin-1")):
        assert reply.json()["predictions"] == pytest.approx([1, 2])
    assert ask("text/csv; charset=iso-8859-1", encoding="utf-8").status_code == 422


def test_a_model_that_comes_as_no_form_is_told_how(server: RunningServer) -> None:
    reply = server.client.post("/models", json={"weights": [[1.0]]})
    assert (reply.status_code, "-F file=@" in reply.json()["detail"]) == (415, True)

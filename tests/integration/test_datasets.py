"""Datasets over HTTP: the real tables, every format alike, what must fail leaves nothing, what is deleted is gone."""

import gzip
import io
import json
import select
import shutil
import socket
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.splitting import split
from app.datasets.target_encoding import TargetEncoding
from tests.patience import until
from tests.running_server import RunningServer

MEDIA_TYPES = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


def upload(server: RunningServer, body: Any, media_type: str = "text/csv", **options: Any) -> httpx.Response:
    headers = {"Content-Type": media_type}
    if "content_encoding" in options:
        headers["Content-Encoding"] = options.pop("content_encoding")
    return server.client.post("/datasets", params=options, content=body, headers=headers)


def kept(server: RunningServer) -> tuple[Any, ...]:
    """Everything that a refused upload might have left."""
    folders = [sorted(path.name for path in (server.data_dir / name).glob("*")) for name in ("datasets", "staging")]
    return server.client.get("/datasets").json(), folders


def test_california_housing_is_understood_as_it_is(server: RunningServer, real_data: Path) -> None:
    body = (real_data / "california-housing.csv").read_bytes()
    reply = upload(server, body, name="housing", target="median_house_value")
    assert reply.status_code == 201, reply.text
    about = {column["name"]: column for column in reply.json()["columns"]}
    assert reply.json()["rows"] == 20_640
    assert about["ocean_proximity"]["kind"] == "categorical"
    assert about["ocean_proximity"]["distinct"] == 5
    assert about["total_bedrooms"]["missing"] == 207
    assert sum(about["total_bedrooms"]["histogram"]["counts"]) == 20_640 - 207
    job = server.train(dataset="housing", model="linear", validation={"fraction": 0.2}, epochs=2, learning_rate=1e-4)
    assert job["status"] == "succeeded", job
    record = dict.fromkeys(about) | {"longitude": -122.2, "latitude": 37.9, "ocean_proximity": "MOON"}
    record.pop("median_house_value")
    predicted = server.client.post("/predict", json={"model": job["model_id"], "records": [record, {}]})
    assert predicted.status_code == 200, predicted.text
    assert len(predicted.json()["predictions"]) == 2


def test_penguins_are_told_apart_with_default_options(server: RunningServer, real_data: Path) -> None:
    body = (real_data / "penguins.csv").read_bytes()
    reply = upload(server, body, name="penguins", target="species")
    assert reply.status_code == 201, reply.text
    job = server.train(dataset="penguins", model="softmax", validation={"fraction": 0.2})
    metrics = server.client.get(f"/models/{job['model_id']}").json()["metrics"]
    assert metrics["validation"]["accuracy"] >= 0.95


def test_housing_with_default_options_is_as_good_as_least_squares(server: RunningServer, real_data: Path) -> None:
    body = (real_data / "california-housing.csv").read_bytes()
    made = upload(server, body, target="median_house_value").json()
    dataset = Dataset.open(server.data_dir / "datasets" / made["id"])
    for seed in range(10):
        job = server.train(dataset=made["id"], model="linear", validation={"fraction": 0.2}, seed=seed)
        assert job["status"] == "succeeded", job
        metrics = server.client.get(f"/models/{job['model_id']}").json()["metrics"]
        assert metrics["validation"]["r2"] > least_squares_r2(dataset, seed) - 0.005


def least_squares_r2(dataset: Dataset, seed: int) -> float:
    """What scikit-learn's LinearRegression reaches on the rows that validate."""
    parts = split(dataset, {"fraction": 0.2}, seed)
    target = TargetEncoding.fit(dataset, "median_house_value", "linear")
    encoding = Encoding.fit(parts.train, None, target, standardize=True)
    (X, y), (X_validation, y_validation) = (
        (encoding.matrix(part).X.astype(np.float64), encoding.targets(part).astype(np.float64))
        for part in (parts.train, parts.validation)
        if part is not None
    )
    return float(r2_score(y_validation, LinearRegression().fit(X, y).predict(X_validation)))


def written(table: pa.Table, form: str) -> bytes:
    sink = io.BytesIO()
    if form == "csv":
        pyarrow.csv.write_csv(table, sink)
    elif form == "parquet":
        pyarrow.parquet.write_table(table, sink, row_group_size=1000)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table, max_chunksize=777)
    else:
        sink.write(b"\n".join(json.dumps(row).encode() for row in table.to_pylist()))
    return sink.getvalue()


def test_every_format_gives_the_same_dataset_and_the_same_weights(server: RunningServer, real_data: Path) -> None:
    table = pyarrow.csv.read_csv(
        real_data / "california-housing.csv", convert_options=pyarrow.csv.ConvertOptions(null_values=[""])
    )
    bodies = {form: (written(table, form), media_type) for form, media_type in MEDIA_TYPES.items()}
    bodies["gzip"] = gzip.compress(bodies["csv"][0]), "text/csv"
    seen = set()
    for form, (body, media_type) in bodies.items():
        reply = upload(server, body, media_type, target="median_house_value")
        assert reply.status_code == 201, f"{form}: {reply.text}"
        dataset = reply.json()
        job = server.train(dataset=dataset["id"], model="linear", epochs=1, learning_rate=1e-4, batch_size=256)
        weights = (server.data_dir / "models" / job["model_id"] / "weights.safetensors").read_bytes()
        seen.add((dataset["sha256"], json.dumps(dataset["columns"]), weights))
        # What is uploaded through a form is the same, too.
        again = server.client.post("/datasets?dry_run=true", files={"file": ("table", body, media_type)})
        assert (again.status_code, again.json()["sha256"]) == (200, dataset["sha256"]), f"{form}: {again.text}"
    assert len(seen) == 1


def test_a_dry_run_shows_what_would_be_understood_and_keeps_nothing(server: RunningServer) -> None:
    before = kept(server)
    options = {"header": False, "decimal": ",", "columns": '{"x1": "categorical"}'}
    reply = upload(server, b"1;2\n3;4,5\n", dry_run=True, **options)
    assert reply.status_code == 200, reply.text
    assert [(column["name"], column["kind"]) for column in reply.json()["columns"]] == [
        ("x1", "categorical"), ("x2", "numeric"),
    ]  # fmt: skip
    assert reply.json()["format"] == {
        "name": "csv", "delimiter": ";", "quote": '"', "encoding": "utf-8", "header": False, "decimal": ",",
    }  # fmt: skip
    assert kept(server) == before


def test_the_whole_numbers_of_an_npz_of_images_may_have_names(server: RunningServer) -> None:
    file = {"file": ("shapes.npz", npz(X=np.zeros((3, 2, 2), np.uint8), y=np.array([1, 0, 1])), "application/x-npz")}

    reply = server.client.post("/datasets", files=file, data={"class_names": '["disc", "square"]', "dry_run": "true"})

    assert reply.status_code == 200, reply.text
    assert [entry["value"] for entry in reply.json()["columns"][1]["categories"]] == ["square", "disc"]


def test_rows_downloads_and_plots_come_in_the_media_type_that_is_asked_for(server: RunningServer) -> None:
    dataset = upload(server, b"a,b,c\n1,2,x\n3,4,y\n5,,x\n", target="c").json()["id"]
    get = server.client.get
    assert get(f"/datasets/{dataset}/rows").json()["items"][2] == {"a": 5, "b": None, "c": "x"}
    as_csv = get(f"/datasets/{dataset}/rows", params={"offset": 1, "limit": 1}, headers={"Accept": "text/csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert as_csv.text == '"a","b","c"\n3,4,"y"\n'
    assert get(f"/datasets/{dataset}/rows", headers={"Accept": "image/png"}).status_code == 406
    for form in ("csv", "parquet"):
        data = get(f"/datasets/{dataset}/data", params={"format": form})
        assert f".{form}" in data.headers["content-disposition"]
        assert upload(server, data.content, MEDIA_TYPES[form], dry_run=True).json()["rows"] == 3
    assert get(f"/datasets/{dataset}/data", params={"format": "xlsx"}).status_code == 422
    for media_type, magic in (("image/svg+xml", b"<?xml"), ("image/png", b"\x89PNG")):
        for query in ({}, {"x": "a"}, {"x": "a", "y": "b"}):
            plot = get(f"/datasets/{dataset}/plot", params=query, headers={"Accept": media_type})
            assert plot.headers["content-type"] == media_type, plot.text
            assert plot.content.startswith(magic)
    assert get(f"/datasets/{dataset}/plot", headers={"Accept": "text/html"}).status_code == 406
    assert get(f"/datasets/{dataset}/plot", params={"z": "a"}).status_code == 422


def test_deletion_frees_files_and_cached_matrices_and_the_name(server: RunningServer) -> None:
    rows = np.random.default_rng(0).normal(size=(60_000, 20))
    body = written(pa.table({f"c{i}": column for i, column in enumerate(rows.T)}), "parquet")
    reply = upload(server, body, MEDIA_TYPES["parquet"], name="doomed", target="c0")
    dataset = reply.json()["id"]
    for _ in range(2):
        server.train(dataset="doomed", model="linear", epochs=1, learning_rate=0.001)
    cached = server.client.get("/datasets/doomed").json()["cached_bytes"]
    assert cached == 60_000 * 19 * 4 + 128
    assert len(list((server.data_dir / "matrices" / dataset).iterdir())) == 1
    assert server.client.delete("/datasets/doomed").status_code == 204
    assert list(server.data_dir.glob(f"*/{dataset}*")) == []
    assert upload(server, b"a,b\n1,2\n", name="doomed").status_code == 201


def npz(**arrays: Any) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def zip_bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10**11,)})
        archive.writestr("X.npy", head.getvalue() + bytes(64 << 20))
    return sink.getvalue()


PARQUET = written(pa.table({"a": [1, 2], "b": ["x", "y"]}), "parquet")
FAILING: dict[str, tuple[bytes, str, dict[str, Any], int, str]] = {
    "a ragged row": (b"a,b\n1,2\n3\n", "csv", {}, 422, "row 2"),
    "a wrong quote": (b"a,b\n'x,y',1\n", "csv", {"quote": '"'}, 422, "row 1"),
    "an open quote": (b'a,b\n1,"x\n2,y\n', "csv", {}, 422, "row 1"),
    "invalid UTF-8": (b"a,b\n1,ok\n2,\xff\n", "csv", {}, 422, "row 2, column b"),
    "NUL bytes": (b"a,b\n1,x\n2,\x00\n", "csv", {}, 422, "row 2, column b"),
    "two columns of one name": (b"a,a\n1,2\n", "csv", {}, 422, "header, column 2"),
    "a header only": (b"a,b\n", "csv", {}, 422, "file"),
    "no header where one is promised": (b"1.5,2\n3,4\n", "csv", {"header": True}, 422, "header"),
    "a number too large": (b"a,b\n1,2\n1e400,3\n", "csv", {}, 422, "row 2, column a"),
    "mixed types in a column declared numeric": (
        b"a,b\n1,2\nx,3\n", "csv", {"columns": '{"a": "numeric"}'}, 422, "row 2, column a",
    ),
    "mixed types in a line": (b'{"a": 1}\n{"a": "x"}', "ndjson", {}, 422, "row 2, column a"),
    "a truncated Parquet": (PARQUET[:-20], "parquet", {}, 422, "file"),
    "a truncated Arrow stream": (written(pa.table({"a": [1]}), "arrow")[:-30], "arrow", {}, 422, "file"),
    "an NPZ with a pickle inside": (npz(X=np.eye(2), y=np.array([{}, {}])), "npz", {}, 422, "file"),
    "an NPZ of object dtype": (npz(X=np.array([[1, "x"]], object), y=np.ones(1)), "npz", {}, 422, "file"),
    "a zip bomb": (zip_bomb(), "npz", {}, 413, ""),
    "a delimiter for Parquet": (PARQUET, "parquet", {"delimiter": ","}, 422, "delimiter"),
    "names of classes for CSV": (b"a,b\n1,2\n", "csv", {"class_names": '["x"]'}, 422, "class_names"),
    "an option that does not exist": (b"a,b\n1,2\n", "csv", {"seperator": ","}, 422, "seperator"),
    "a delimiter of two characters": (b"a,b\n1,2\n", "csv", {"delimiter": ",,"}, 422, "delimiter"),
    "UTF-16 that is none": (b"a,b\n1,2\n", "csv", {"encoding": "utf-16"}, 422, "encoding"),
    "NUL bytes in rows that differ in length": (b"a,b\n1,\0\n2\n", "csv", {}, 422, "line 2"),
    "a kind that is none": (b"a,b\n1,2\n", "csv", {"columns": '{"a": "foo"}'}, 422, "columns.a"),
    "a decimal mark that is none": (b"a,b\n1,2\n", "csv", {"decimal": ";"}, 422, "decimal"),
    "an encoding that is none": (b"a,b\n1,2\n", "csv", {"encoding": "klingon"}, 422, "encoding"),
    "what is not gzip": (b"a,b\n1,2\n", "csv", {"content_encoding": "gzip"}, 422, "file"),
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with low limits and no worker."""
    limits = {"upload_limit_mib": 8, "unpacked_limit_mib": 16}
    with RunningServer(tmp_path_factory.mktemp("small") / "data", ready="/healthz", workers=0, **limits) as running:
        yield running


@pytest.mark.parametrize("case", FAILING)
def test_what_must_fail_names_its_place_and_leaves_nothing(small: RunningServer, case: str) -> None:
    body, form, options, status, location = FAILING[case]
    before = kept(small)
    reply = upload(small, body, {**MEDIA_TYPES, "npz": "application/x-npz"}[form], **options)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert status == 413 or location in [fault["location"] for fault in reply.json()["errors"]], reply.text
    assert kept(small) == before


@pytest.mark.parametrize("place", ["params", "data"])
def test_options_that_are_json_count_in_the_query_as_in_the_form(small: RunningServer, place: str) -> None:
    images = {
        "images": struct.pack(">IIII", 2051, 3, 1, 2) + bytes(6),
        "labels": struct.pack(">II", 2049, 3) + b"\0\1\0",
    }
    table = {"file": ("table.csv", b"a,b\n1,2\n3,4\n")}

    named = small.client.post(
        "/datasets", files=images, **{place: {"dry_run": "true", "class_names": '["bag", "boot"]'}}
    )
    ignored = small.client.post("/datasets", files=table, **{place: {"dry_run": "true", "columns": '{"a": "ignore"}'}})

    assert (named.status_code, ignored.status_code) == (200, 200), named.text
    assert [about["value"] for about in named.json()["columns"][1]["categories"]] == ["bag", "boot"]
    assert [column["kind"] for column in ignored.json()["columns"]] == ["ignore", "numeric"]


@pytest.mark.parametrize("given", ["island", "[1]", '"island"', ""])
@pytest.mark.parametrize("place", ["params", "data"])
def test_an_option_that_is_not_the_json_it_should_be_is_answered_with_an_example(
    small: RunningServer, place: str, given: str
) -> None:
    files = {"file": ("table.csv", b"a,b\n1,2\n")}
    reply = small.client.post("/datasets", files=files, **{place: {"dry_run": "true", "columns": given}})
    assert reply.status_code == 422
    assert reply.json()["errors"] == [
        {"location": "columns", "message": 'give it as JSON, such as {"island": "ignore"}'}
    ]


def test_an_endless_gzip_stops_at_the_limit(small: RunningServer) -> None:
    def endless() -> Iterator[bytes]:
        packer = gzip.zlib.compressobj(9, gzip.zlib.DEFLATED, 31)  # type: ignore[attr-defined]
        yield packer.compress(b"a,b\n")
        for _ in range(64):
            yield packer.compress(b"1,2\n" * (1 << 18))

    before = kept(small)
    reply = upload(small, endless())
    assert (reply.status_code, "decompressed" in reply.text) == (413, True)
    assert kept(small) == before


def test_a_body_over_the_limit_is_stopped_early(small: RunningServer) -> None:
    before = kept(small)
    with socket.create_connection(("127.0.0.1", small.port)) as client:
        client.settimeout(30)
        head = (
            "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.sendall(head.encode())
        chunk = b"1,2\n" * (1 << 16)
        sent = 0
        while not select.select([client], [], [], 0)[0] and sent < 1 << 30:
            client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            sent += len(chunk)
        assert b" 413 " in client.recv(4096)
    # The reply comes while the client is still sending: nothing more is taken in.
    assert sent < 1 << 30
    assert kept(small) == before


@pytest.mark.parametrize("multipart", [False, True])
def test_a_connection_that_is_cut_leaves_nothing(small: RunningServer, multipart: bool) -> None:
    before = kept(small)
    media_type = "multipart/form-data; boundary=b" if multipart else "text/csv"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n' if multipart else b""
    with socket.create_connection(("127.0.0.1", small.port)) as client:
        head = f"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
        client.sendall(head.encode() + b"Content-Length: 5000000\r\n\r\n" + part + b"a,b\n" + b"1,2\n" * 500_000)
        until(lambda: list((small.data_dir / "staging").iterdir()))
    until(lambda: kept(small) == before)


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose data directory is a file system of 24 MB."""
    folder = tmp_path_factory.mktemp("cramped")
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)] if mount else ["false"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here; that takes root")
    try:
        with RunningServer(folder / "data", ready="/healthz", workers=0, disk_reserve_mib=0) as running:
            yield running
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("rows", "fills"), [(4_000_000, "the upload"), (1_700_000, "its conversion")])
def test_a_full_disk_is_told_and_leaves_nothing(cramped: RunningServer, rows: int, fills: str) -> None:
    before = kept(cramped)
    body = "a\n" + "\n".join(f"{value:.6f}" for value in np.random.default_rng(0).uniform(0, 1, rows))
    reply = upload(cramped, body.encode())
    assert reply.status_code == 507, f"{fills}: {reply.text}"
    assert reply.json()["type"].endswith("storage-full")
    assert kept(cramped) == before
    assert upload(cramped, b"a,b\n1,2\n").status_code == 201


LATIN = "a,b\n1,é\n2,x\n".encode("latin-1")


@pytest.mark.parametrize("charset", ["iso-8859-1", '"ISO-8859-1"', "latin1"])
def test_the_charset_of_a_csv_body_is_its_encoding(server: RunningServer, charset: str) -> None:
    media_type = f"text/csv; header=present; charset={charset}"
    as_file = {"file": ("table.csv", LATIN, media_type)}
    for reply in (
        upload(server, LATIN, media_type, dry_run=True),
        upload(server, LATIN, media_type, dry_run=True, encoding="latin-1"),
        server.client.post("/datasets?dry_run=true", files=as_file),
    ):
        assert reply.status_code == 200, reply.text
        assert reply.json()["format"]["encoding"] == "iso8859-1"
        assert {entry["value"] for entry in reply.json()["columns"][1]["categories"]} == {"é", "x"}


@pytest.mark.parametrize(
    ("charset", "options", "location"),
    [
        ("klingon", {}, "Content-Type"),
        ("klingon", {"encoding": "utf-8"}, "Content-Type"),
        ("iso-8859-1", {"encoding": "utf-8"}, "encoding"),
    ],
)
def test_a_charset_that_is_none_or_contradicts_the_encoding_is_refused(
    server: RunningServer, charset: str, options: dict[str, Any], location: str
) -> None:
    reply = upload(server, b"a,b\n1,2\n", f"text/csv; charset={charset}", **options)

    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"][0]["location"] == location

"""Attacks on keys, scopes and owners: each is refused, and nothing has changed afterwards.

The calls are those of the OpenAPI document, so that a new one is attacked without anybody thinking of it.
"""

import json
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.access import keys
from app.access.scope import Scope
from app.routers.guard import NEEDED
from tests.guarded_server import GuardedServer, Holder
from tests.integration.conftest import Estate

NOWHERE = "0190a4e0-0000-7000-8000-000000000000"
JSON = {"Content-Type": "application/json"}


def calls(guarded: GuardedServer) -> Iterator[tuple[str, str, str]]:
    """Every call that needs a key: its method, its path and the scope that the document names."""
    document = httpx.get(f"{guarded.url}/openapi.json", trust_env=False).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for requirement in operation["security"]:
                (scope,) = requirement["key"]
                yield method.upper(), path, scope


def fill_in(path: str, **names: str) -> str:
    found = {"dataset": NOWHERE, "job": NOWHERE, "model": NOWHERE, "name": "nobody", "alias": "a", "version": "1"}
    return path.format(**(found | names))


def is_refused(reply: httpx.Response, status: int, code: str) -> None:
    where = f"{reply.request.method} {reply.request.url}: {reply.status_code} {reply.text}"
    assert reply.status_code == status, where
    assert reply.headers["content-type"] == "application/problem+json", where
    assert reply.json()["type"] == f"urn:onelayer:problem:{code}", where
    if "/v2/" in str(reply.request.url):
        assert reply.json()["error"] == reply.json()["detail"]


# ── no key that counts ───────────────────────────────────────────────────────────────────────────────────────────────


def no_keys(guarded: GuardedServer) -> dict[str, dict[str, str] | list[tuple[str, str]]]:
    """Headers that let nobody in."""
    good = guarded.holder("admin").token
    revoked, over = guarded.holder("admin"), guarded.holder("admin", days=0)
    keys.revoke(guarded.database, revoked.id)
    secret = secrets.token_urlsafe(32)
    wrong = f"ol_{good.split('_')[1]}_{secret}"
    return {
        "none": {},
        "a wrong secret": {"Authorization": f"Bearer {wrong}"},
        "an unknown id": {"Authorization": f"Bearer ol_000000000000_{secret}"},
        "a revoked key": {"Authorization": f"Bearer {revoked.token}"},
        "a key past its time": {"Authorization": f"Bearer {over.token}"},
        "another scheme": {"Authorization": f"Basic {good}"},
        "no scheme": {"Authorization": good},
        "a scheme alone": {"Authorization": "Bearer"},
        "an empty header": {"Authorization": ""},
        "two keys in one": {"Authorization": f"Bearer {good}, Bearer {good}"},
        "two headers": [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        "a key and more": {"Authorization": f"Bearer {good}x"},
        "half a key": {"Authorization": f"Bearer {good[:-1]}"},
        "SQL": {"Authorization": "Bearer ol_' OR 1=1 --_x"},
        "a large header": {"Authorization": f"Bearer {'x' * 8000}"},
        "a header that is no text": [("Authorization", "Bearer ol_\xff")],
        "the key elsewhere": {"X-API-Key": good, "Cookie": f"Authorization=Bearer {good}"},
        "a claim to be this machine": {"X-Forwarded-For": "127.0.0.1", "Host": "localhost"},
    }


def test_without_a_key_that_counts_every_call_is_refused(guarded: GuardedServer, estate: Estate) -> None:
    attempts = no_keys(guarded)
    before = guarded.everything()
    with guarded.stranger() as client:
        for method, path, _ in calls(guarded):
            url = fill_in(path, dataset=estate.dataset, job=estate.job["id"], model=estate.model, name="anns-model")
            for name, headers in attempts.items():
                reply = client.request(method, url, headers=httpx.Headers(headers, encoding="latin-1"))
                is_refused(reply, 401, "unauthorized")
                assert reply.headers["www-authenticate"].startswith('Bearer realm="onelayer"'), name
    assert guarded.everything() == before


def test_a_key_in_the_address_is_no_key(guarded: GuardedServer) -> None:
    with guarded.stranger() as client:
        is_refused(client.get("/models", params={"key": guarded.admin.token}), 401, "unauthorized")


def test_wrong_unknown_revoked_and_ended_keys_are_answered_alike(guarded: GuardedServer) -> None:
    attempts = no_keys(guarded)
    names = "a wrong secret", "an unknown id", "a revoked key", "a key past its time"
    with guarded.stranger() as client:
        replies = [client.get("/datasets", headers=attempts[name]) for name in names]
    assert len({reply.text for reply in replies}) == 1
    assert len({reply.headers["www-authenticate"] for reply in replies}) == 1


def test_what_needs_no_key_says_nothing_of_what_there_is(guarded: GuardedServer, estate: Estate) -> None:
    with guarded.stranger(Authorization="Bearer wrong") as client:
        for call, needed in NEEDED.items():
            if needed is None:
                reply = client.get(call.removeprefix("GET "), follow_redirects=True)
                assert reply.status_code == 200, call
                assert "anns" not in reply.text
                assert estate.dataset not in reply.text


# ── a key of a lesser scope ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_call_is_refused_to_keys_of_a_lesser_scope(guarded: GuardedServer, estate: Estate) -> None:
    holders = [guarded.holder(scope, owner=estate.ann.id) for scope in Scope]
    before = guarded.everything()
    tried = 0
    for method, path, needed in calls(guarded):
        url = fill_in(path, dataset=estate.dataset, job=estate.job["id"], model=estate.model, name="anns-model")
        for scope, holder in zip(Scope, holders, strict=True):
            if not scope.contains(Scope(needed)):
                reply = holder.client.request(method, url, json={})
                is_refused(reply, 403, "scope-missing")
                assert f'scope="{needed}"' in reply.headers["www-authenticate"]
                tried += 1
    assert tried > 40
    assert guarded.everything() == before


def test_a_lesser_key_of_the_same_owner_does_not_get_the_reply_to_a_greater_one(
    guarded: GuardedServer, estate: Estate
) -> None:
    body = {"name": "anns-secret", "source": {"type": "records", "records": [{"a": 1, "b": 2}, {"a": 2, "b": 3}]}}
    first = estate.ann.client.post("/datasets", json=body, headers={"Idempotency-Key": "once"})
    assert first.status_code == 201
    for scope in "predict", "read":
        lesser = guarded.holder(scope, owner=estate.ann.id)
        reply = lesser.client.post("/datasets", json=body, headers={"Idempotency-Key": "once"})
        is_refused(reply, 403, "scope-missing")
    with guarded.stranger() as client:
        is_refused(client.post("/datasets", json=body, headers={"Idempotency-Key": "once"}), 401, "unauthorized")


# ── what is another's ────────────────────────────────────────────────────────────────────────────────────────────────


def body_of(path: str, dataset: str, model: str) -> dict[str, Any] | None:
    """A body that does something, where the call takes one."""
    spec = {"dataset": dataset, "model": "linear", "epochs": 1}
    return {
        "/jobs": spec,
        "/predict": {"model": model, "instances": [[1, 2]]},
        "/models/{model}/evaluate": {"dataset": dataset},
        "/models/{model}/predictions": {"dataset": dataset},
        "/models/{name}/aliases/{alias}": {"version": 1},
        "/datasets/{dataset}": {"shared": True},
        "/models/{model}": {"shared": True},
        "/v2/models/{model}/infer": {"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]},
    }.get(path.replace("/versions/{version}", ""))


def test_anothers_things_are_as_if_they_were_not_there(guarded: GuardedServer, estate: Estate, bob: Holder) -> None:
    names = {"dataset": "anns-line", "job": estate.job["id"], "model": "anns-model", "name": "anns-model"}
    names["alias"] = "anns-best"
    ids = {**names, "dataset": estate.dataset, "model": estate.model, "job": estate.batch}
    absent = {"dataset": "nowhere", "job": NOWHERE, "model": "nowhere", "name": "nowhere", "alias": "anns-best"}
    before = guarded.everything()
    tried = set()
    for method, path, _ in calls(guarded):
        if "{" not in path:
            continue
        there_not = bob.client.request(
            method, fill_in(path, **absent), json=body_of(path, "nowhere", "nowhere") if method != "GET" else None
        )
        for found in names, ids:
            body = body_of(path, found["dataset"], found["model"]) if method != "GET" else None
            reply = bob.client.request(method, fill_in(path, **found), json=body)
            assert reply.status_code == there_not.status_code == 404, f"{method} {path}: {reply.text}"
            assert plain(reply, found) == plain(there_not, absent), f"{method} {path}"
            tried.add(path)
    assert len(tried) > 20
    assert guarded.everything() == before


def plain(reply: httpx.Response, names: dict[str, str]) -> str:
    """A reply without the names that were asked for."""
    text = reply.text
    for name in sorted(names.values(), key=len, reverse=True):
        text = text.replace(name, "…")
    return text.replace("…:1", "…")


def others(estate: Estate) -> dict[str, tuple[str, str, Any]]:
    """Calls of one's own that name what is another's in their body."""
    spec = {"dataset": "bobs-line", "model": "linear", "epochs": 1}
    return {
        "a job on it": ("POST", "/jobs", {**spec, "dataset": "anns-line"}),
        "a job on its id": ("POST", "/jobs", {**spec, "dataset": estate.dataset}),
        "a job that validates on it": ("POST", "/jobs", {**spec, "validation": {"dataset": "anns-line"}}),
        "a job that starts from it": ("POST", "/jobs", {**spec, "init": {"type": "model", "model": "anns-model"}}),
        "a dry run on it": ("POST", "/jobs?dry_run=true", {**spec, "dataset": "anns-line"}),
        "evaluation on it": ("POST", "/models/bobs-model/evaluate", {"dataset": "anns-line"}),
        "batch prediction of it": ("POST", "/models/bobs-model/predictions", {"dataset": "anns-line"}),
        "prediction by it": ("POST", "/predict", {"model": "anns-model", "instances": [[1, 2]]}),
        "prediction by its alias": ("POST", "/predict", {"model": "anns-model@anns-best", "instances": [[1, 2]]}),
        "prediction by its version": ("POST", "/predict", {"model": "anns-model:1", "instances": [[1, 2]]}),
        "jobs of it": ("GET", "/jobs?dataset=anns-line", None),
    }


@pytest.fixture(scope="module")
def _bobs_own(bob: Holder) -> None:
    bob.make_line("bobs-line")
    bob.train("bobs-line", model_name="bobs-model")


@pytest.mark.usefixtures("_bobs_own")
def test_anothers_things_cannot_be_used(guarded: GuardedServer, estate: Estate, bob: Holder) -> None:
    # The model is in the server's memory, for its owner.
    asked = {"model": "anns-model", "instances": [[1, 2]]}
    assert estate.ann.client.post("/predict", json=asked).status_code == 200
    before = guarded.everything()
    for name, (method, path, body) in others(estate).items():
        reply = bob.client.request(method, path, json=body)
        assert reply.status_code == 404, f"{name}: {reply.text}"
    csv = bob.client.post("/predict?model=anns-model", content=b"x1,x2\n1,2\n", headers={"Content-Type": "text/csv"})
    assert csv.status_code == 404
    assert guarded.everything() == before
    assert estate.ann.client.post("/predict", json=asked).status_code == 200


@pytest.mark.usefixtures("_bobs_own")
def test_lists_show_ones_own_alone(estate: Estate, bob: Holder) -> None:
    for path in "/datasets", "/jobs", "/models":
        items = bob.client.get(path, params={"limit": 500}).json()["items"]
        assert {item["owner"] for item in items if not item.get("shared")} <= {bob.id, None}
        assert estate.ann.id in {item["owner"] for item in estate.ann.client.get(path).json()["items"]}
    assert bob.client.get("/models", params={"name": "anns-model"}).json()["items"] == []
    index = bob.client.post("/v2/repository/index", json={}).json()
    assert "anns-model" not in {entry["name"] for entry in index}
    latest = bob.client.get("/jobs/latest").json()
    assert latest["owner"] == bob.id


@pytest.mark.usefixtures("_bobs_own")
def test_anothers_names_cannot_be_taken(guarded: GuardedServer, estate: Estate, bob: Holder) -> None:
    exported = bob.client.get("/models/bobs-model/export", params={"format": "json"}).content
    before = guarded.everything()
    source = {"type": "records", "records": [{"a": 1, "b": 2}]}
    is_refused(bob.client.post("/datasets", json={"name": "anns-line", "source": source}), 409, "name-taken")
    spec = {"dataset": "bobs-line", "model": "linear", "epochs": 1, "model_name": "anns-model"}
    is_refused(bob.client.post("/jobs", json=spec), 409, "model-name-taken")
    is_refused(bob.client.post("/jobs?dry_run=true", json=spec), 409, "model-name-taken")
    files, data = {"file": exported}, {"name": "anns-model"}
    is_refused(bob.client.post("/models", files=files, data=data), 409, "model-name-taken")
    assert guarded.everything() == before


def test_the_same_idempotency_key_with_another_key_is_another_request(estate: Estate, bob: Holder) -> None:
    body = {"source": {"type": "records", "records": [{"a": 1, "b": 2}, {"a": 2, "b": 3}]}}
    replies = [
        holder.client.post("/datasets", json=body, headers={"Idempotency-Key": "the-same"})
        for holder in (estate.ann, bob, bob)
    ]
    first, second, again = (reply.json() for reply in replies)
    assert (first["owner"], second["owner"]) == (estate.ann.id, bob.id)
    assert first["id"] != second["id"] == again["id"]
    assert "idempotency-replayed" not in replies[1].headers
    assert replies[2].headers["idempotency-replayed"] == "true"
    assert bob.client.get(f"/datasets/{first['id']}").status_code == 404


def test_what_is_no_longer_shared_is_not_trained_on_by_running_an_old_job_again(estate: Estate, bob: Holder) -> None:
    dataset = estate.ann.make_line("lent", shared=True)
    job = bob.train("lent")
    assert estate.ann.client.patch("/datasets/lent", json={"shared": False}).status_code == 200
    assert bob.client.get(f"/jobs/{job['id']}").status_code == 200
    reply = bob.client.post(f"/jobs/{job['id']}/replay", headers={"Prefer": "wait=10"})
    is_refused(reply, 404, "dataset-not-found")
    assert bob.client.get(f"/datasets/{dataset}/rows").status_code == 404


# ── names that are no names ──────────────────────────────────────────────────────────────────────────────────────────

EVIL = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fonlayer.db",
    "%2e%2e",
    "...",
    "a%00b",
    "%00",
    "a%0d%0aSet-Cookie:%20x=1",
    "'%20OR%201=1%20--",
    "%22;DROP%20TABLE%20datasets;--",
    "1'%20UNION%20SELECT%20digest%20FROM%20keys--",
    "anns-model'%20--",
    "%25",
    "%ff%fe",
    "a" * 199,
    "%F0%9F%92%A5",
    "anns-model:1;x",
    "anns-model:99999999999999999999",
    "anns-model@",
    "@anns-best",
]


def test_names_in_the_path_reach_nothing(guarded: GuardedServer, estate: Estate, bob: Holder) -> None:
    before = guarded.everything()
    for method, path, _ in calls(guarded):
        for place in ("dataset", "job", "model", "name", "alias", "version"):
            if "{" + place + "}" not in path:
                continue
            for name in EVIL:
                url = fill_in(path, **{place: name})
                body = body_of(path, "anns-line", "anns-model") if method != "GET" else None
                reply = bob.client.request(method, url, json=body)
                assert 400 <= reply.status_code < 500, f"{method} {url}: {reply.status_code} {reply.text}"
                assert "set-cookie" not in reply.headers
                assert "digest" not in reply.text.replace("UNION SELECT digest", "")
    assert guarded.everything() == before


TEXTS = [
    "../../etc/passwd", "..", "a\x00b", "\x00", "a\r\nSet-Cookie: x=1", "' OR 1=1 --", '"; DROP TABLE models; --',
    "x" * 101, "💥", "a b", "name:1", "name@alias", "\ud800", "%00", "", " ", "-", NOWHERE,
]  # fmt: skip


@pytest.mark.usefixtures("_bobs_own")
def test_names_in_bodies_reach_nothing(guarded: GuardedServer, bob: Holder) -> None:
    exported = bob.client.get("/models/bobs-model/export", params={"format": "json"}).content
    before = guarded.everything()
    source = {"type": "records", "records": [{"a": 1, "b": 2}]}
    job = {"dataset": "bobs-line", "model": "linear", "epochs": 1}
    for text in TEXTS:
        bodies = [
            ("POST", "/datasets", {"name": text, "source": source}),
            ("POST", "/jobs", {**job, "model_name": text}),
            ("POST", "/jobs", {**job, "dataset": text}),
            ("POST", "/jobs", {**job, "validation": {"dataset": text}}),
            ("POST", "/jobs", {**job, "init": {"type": "model", "model": text}}),
            ("POST", "/jobs", {**job, "target": text or "none"}),
            ("POST", "/jobs", {**job, "features": [text]}),
            ("POST", "/predict", {"model": text, "instances": [[1, 2]]}),
            ("POST", "/predict", {"model": text, "instances": [[1, float("nan")]]}),
            ("POST", "/models/bobs-model/evaluate", {"dataset": text}),
            ("POST", "/models/bobs-model/predictions", {"dataset": text}),
        ]
        for method, path, body in bodies:
            reply = bob.client.request(method, path, content=dumps(body), headers=JSON)
            assert 400 <= reply.status_code < 500, f"{method} {path} {body}: {reply.status_code} {reply.text}"
            assert "set-cookie" not in reply.headers
        if text.isprintable() and text:
            reply = bob.client.post("/models", files={"file": exported}, data={"name": text})
            assert reply.status_code == 422, reply.text
    assert guarded.everything() == before


def dumps(body: Any) -> bytes:
    """JSON in ASCII, NaN and lone halves of characters included."""
    return json.dumps(body).encode("ascii")


@pytest.mark.usefixtures("_bobs_own")
def test_queries_reach_nothing(guarded: GuardedServer, bob: Holder) -> None:
    before = guarded.everything()
    for text in ["'", "' OR 1=1 --", '"; DROP TABLE jobs; --', "a\x00b", "\x00", "..%2f", "x\r\nSet-Cookie: a=1"]:
        for path, parameter in [
            ("/datasets", "cursor"), ("/jobs", "cursor"), ("/jobs", "dataset"), ("/jobs", "model"), ("/jobs", "status"),
            ("/models", "cursor"), ("/models", "name"), ("/datasets/bobs-line/rows", "split"),
            ("/datasets/bobs-line/data", "format"), ("/datasets/bobs-line/plot", "x"),
            ("/models/bobs-model/export", "format"), ("/jobs/latest/history", "after_epoch"),
        ]:  # fmt: skip
            reply = bob.client.get(path, params={parameter: text})
            refused = 400 <= reply.status_code < 500
            empty = reply.status_code == 200 and reply.json()["items"] == []
            assert refused or empty, f"{path} {parameter}={text!r}: {reply.status_code} {reply.text}"
            assert "set-cookie" not in reply.headers
        for method, path in [("POST", "/datasets"), ("POST", "/predict")]:
            query = {"name": text} if path == "/datasets" else {"model": text}
            reply = bob.client.request(
                method, path, params=query, content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"}
            )
            assert 400 <= reply.status_code < 500, f"{path} {text!r}: {reply.text}"
    assert guarded.everything() == before


def form(file_name: bytes, part: bytes = b"file") -> tuple[bytes, dict[str, str]]:
    head = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n' % (part, file_name)
    return head + b"a,b\n1,2\n3,4\n\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    "file_name",
    [b"../../../evil.csv", b"/etc/evil.csv", b"..\\..\\evil.csv", b"a\x00.csv", b"%2e%2e%2fevil.csv", b"evil\xff.csv",
     b"x\x0aSet-Cookie: a=1.csv", b"'; DROP TABLE datasets; --.csv"],
)  # fmt: skip
def test_the_name_of_an_uploaded_file_never_becomes_a_path(
    guarded: GuardedServer, bob: Holder, file_name: bytes
) -> None:
    outside = set(guarded.running.data_dir.parent.iterdir())
    body, headers = form(file_name)
    reply = bob.client.post("/datasets", content=body, headers=headers)
    assert reply.status_code in (201, 400, 415, 422), reply.text
    if reply.status_code == 201:
        dataset = reply.json()
        assert dataset["name"] is None
        folder = guarded.running.data_dir / "datasets" / dataset["id"]
        assert {file.name for file in folder.iterdir()} == {"table.parquet", "dataset.json"}
        download = bob.client.get(f"/datasets/{dataset['id']}/data")
        assert download.headers["content-disposition"] == f'attachment; filename="{dataset["id"]}.csv"'
        assert bob.client.delete(f"/datasets/{dataset['id']}").status_code == 204
    assert set(guarded.running.data_dir.parent.iterdir()) == outside
    assert list((guarded.running.data_dir / "staging").iterdir()) == []


def test_the_name_of_a_part_reaches_nothing(guarded: GuardedServer, bob: Holder) -> None:
    before = guarded.everything()
    for part in b"../file", b"file\x00", b"__class__", b"' OR 1=1", b"owner", b"shared\x00":
        body, headers = form(b"a.csv", part)
        assert bob.client.post("/datasets", content=body, headers=headers).status_code in (400, 422)
    assert guarded.everything() == before


def test_an_owner_cannot_be_claimed(guarded: GuardedServer, estate: Estate, bob: Holder) -> None:
    before = guarded.everything()
    source = {"type": "records", "records": [{"a": 1, "b": 2}]}
    for reply in (
        bob.client.post("/datasets", json={"source": source, "owner": estate.ann.id}),
        bob.client.post("/datasets?owner=x", json={"source": source}),
        bob.client.post("/jobs", json={"dataset": "bobs-line", "model": "linear", "owner": estate.ann.id}),
        bob.client.patch("/models/bobs-model", json={"shared": True, "owner": estate.ann.id}),
    ):
        assert reply.status_code == 422, reply.text
    assert guarded.everything() == before


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/datasets", "text/csv"),
        ("/datasets", "multipart/form-data; boundary=b"),
        ("/jobs", "application/json"),
        ("/models", "multipart/form-data; boundary=b"),
        ("/models/anns-model/evaluate", "application/json"),
        ("/predict", "application/json"),
        ("/v2/models/anns-model/infer", "application/json"),
    ],
)
def test_who_is_refused_is_not_listened_to(guarded: GuardedServer, path: str, media_type: str) -> None:
    with socket.create_connection(("127.0.0.1", guarded.running.port), timeout=60) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nonsense\r\n"
        client.sendall(f"{head}Content-Type: {media_type}\r\nContent-Length: 1000000\r\n\r\n".encode())
        # Not a byte of the body has been sent.
        assert client.recv(100).split()[1] == b"401"

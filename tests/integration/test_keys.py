"""Keys as people use them: made on the command line, taken by the server at once, shared things, a first start."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.access import keys
from app.access.scope import Scope
from app.database import Database
from tests.guarded_server import GuardedServer, Holder
from tests.integration.conftest import Estate
from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 100}


def test_a_key_is_shown_once_and_works_at_once_and_no_longer_once_it_is_revoked(guarded: GuardedServer) -> None:
    made = guarded.command("create", "--scope", "read", "--name", "a dashboard", "--days", "30")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    key_id = token.split("_")[1]
    listed = guarded.command("list").stdout
    (line,) = (line for line in listed.splitlines() if key_id in line)
    assert re.search(rf"{key_id}\s+a dashboard\s+read\s+{key_id}\s.*never\s+counts until", line)
    assert token.split("_", 2)[2] not in listed
    with guarded.stranger(Authorization=f"Bearer {token}") as client:
        assert client.get("/datasets").status_code == 200
        revoked = guarded.command("revoke", key_id)
        assert revoked.returncode == 0, revoked.stderr
        assert client.get("/datasets").status_code == 401
    assert "revoked" in guarded.command("list").stdout
    dump = guarded.running.data_dir.joinpath("onelayer.db").read_bytes()
    assert token.split("_", 2)[2].encode() not in dump


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["revoke", "000000000000"], "onelayer keys list"),
        (["create", "--scope", "read", "--owner", "000000000000"], "onelayer keys list"),
        (["create", "--scope", "read", "--name", "a\nb"], "printable"),
        (["create", "--scope", "all"], "predict"),
        (["create"], "--scope"),
    ],
)
def test_a_command_that_cannot_be_done_says_what_to_do(guarded: GuardedServer, words: list[str], said: str) -> None:
    done = guarded.command(*words)
    assert done.returncode != 0
    assert said in done.stderr
    assert "ol_" not in done.stdout


@pytest.mark.parametrize("words", [["list"], ["revoke", "5fb86d2c38d5"], ["adopt", "5fb86d2c38d5"]])
def test_a_data_directory_that_is_not_there_is_not_made_for_a_key_that_cannot_be_in_it(
    tmp_path: Path, words: list[str]
) -> None:
    command = [sys.executable, "-m", "app", "keys", *words, "--data-dir", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    assert "--data-dir" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_what_is_shared_is_seen_and_used_by_all_and_changed_by_its_owner(
    guarded: GuardedServer, estate: Estate, bob: Holder
) -> None:
    ann = estate.ann
    dataset = ann.make_line("ours", shared=True)
    model = ann.train("ours", model_name="our-model", shared=True)["model_id"]
    assert ann.client.get("/models/our-model").json()["shared"] is True
    assert bob.client.get("/datasets/ours").json()["owner"] == ann.id
    assert bob.client.get("/datasets/ours/rows").status_code == 200
    assert bob.train("ours")["owner"] == bob.id
    assert bob.client.post("/predict", json={"model": "our-model", "instances": [[1, 2]]}).status_code == 200
    assert bob.client.post(f"/models/{model}/evaluate", json={"dataset": "ours"}).status_code == 200
    reader = guarded.holder("predict")
    assert reader.client.post("/predict", json={"model": "our-model", "instances": [[1, 2]]}).status_code == 200
    changes = [
        bob.client.patch("/datasets/ours", json={"shared": False}),
        bob.client.delete("/datasets/ours"),
        bob.client.patch("/models/our-model", json={"shared": False}),
        bob.client.put("/models/our-model/aliases/best", json={"version": 1}),
        bob.client.delete("/models/our-model"),
    ]
    assert [(reply.status_code, reply.json()["type"]) for reply in changes] == [
        (403, "urn:onelayer:problem:not-owner")
    ] * 5
    assert ann.client.patch("/models/our-model", json={"shared": False}).json()["shared"] is False
    assert ann.client.patch(f"/datasets/{dataset}", json={"shared": False}).json()["shared"] is False
    assert bob.client.get("/datasets/ours").status_code == 404
    assert bob.client.post("/predict", json={"model": "our-model", "instances": [[1, 2]]}).status_code == 404


def test_the_truth_behind_a_dataset_is_not_told_with_a_shared_model(estate: Estate, bob: Holder) -> None:
    estate.ann.make_line("anns-truth")
    estate.ann.train("anns-truth", model_name="told", shared=True)
    assert estate.ann.client.get("/models/told/coefficients").json()["vs_truth"] is not None
    shown = bob.client.get("/models/told/coefficients")
    assert shown.status_code == 200
    assert shown.json()["vs_truth"] is None


def test_a_dataset_is_shared_from_its_making_in_every_way_of_making_one(bob: Holder) -> None:
    csv, headers = b"a,b\n1,2\n3,4\n", {"Content-Type": "text/csv"}
    replies = [
        bob.client.post("/datasets", json={"source": LINE, "shared": True}),
        bob.client.post("/datasets?shared=true", json={"source": LINE}),
        bob.client.post("/datasets?shared=true", content=csv, headers=headers),
        bob.client.post("/datasets", files={"file": ("a.csv", csv)}, data={"shared": "true"}),
    ]
    assert [reply.json()["shared"] for reply in replies] == [True] * 4
    assert bob.client.post("/datasets", content=csv, headers=headers).json()["shared"] is False


def test_an_imported_model_is_its_importers_and_shared_as_asked(bob: Holder) -> None:
    bob.make_line("to-import")
    bob.train("to-import", model_name="imported")
    exported = bob.client.get("/models/imported/export", params={"format": "json"}).content
    for data, shared in ({}, False), ({"shared": "true"}, True):
        made = bob.client.post("/models", files={"file": exported}, data=data).json()
        assert (made["owner"], made["shared"]) == (bob.id, shared)


def test_keys_of_one_owner_share_what_is_theirs(guarded: GuardedServer, estate: Estate) -> None:
    app = guarded.holder("predict", owner=estate.ann.id)
    asked = {"model": "anns-model", "instances": [[1, 2]]}
    assert app.client.post("/predict", json=asked).status_code == 200
    assert app.client.get("/models/anns-model").status_code == 200
    assert app.client.get("/datasets/anns-line").status_code == 403
    rotated = guarded.holder("write", owner=estate.ann.id)
    assert rotated.client.get(f"/jobs/{estate.job['id']}/history").status_code == 200


def test_an_admin_sees_and_changes_everything(guarded: GuardedServer, estate: Estate) -> None:
    admin = guarded.admin
    owned = estate.ann.make_line("anns-for-admin")
    assert admin.client.get(f"/datasets/{owned}").json()["owner"] == estate.ann.id
    assert admin.client.patch(f"/datasets/{owned}", json={"shared": True}).status_code == 200
    version = admin.train("anns-for-admin", model_name="anns-model")["model_id"]
    assert estate.ann.client.get(f"/models/{version}").json()["owner"] == estate.ann.id
    assert admin.client.delete(f"/models/{version}").status_code == 204
    assert admin.client.delete(f"/datasets/{owned}").status_code == 204


def test_a_stream_of_events_ends_when_its_key_is_revoked(guarded: GuardedServer) -> None:
    ann = guarded.holder("write")
    ann.make_line("watched")
    spec = {"dataset": "watched", "model": "linear", "epochs": 1_000_000, "batch_size": 1, "learning_rate": 1e-6}
    job = ann.client.post("/jobs", json=spec).json()["id"]
    began, ended = threading.Event(), threading.Event()

    def watch() -> None:
        with ann.client.stream("GET", f"/jobs/{job}/events") as reply:
            for _ in reply.iter_bytes():
                began.set()
        ended.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert began.wait(60)
    keys.revoke(guarded.database, ann.id)
    assert ended.wait(60)
    watcher.join()
    assert guarded.admin.client.get(f"/jobs/{job}").json()["status"] == "running"
    assert guarded.admin.client.post(f"/jobs/{job}/cancel").status_code == 202


def test_the_button_of_the_docs_knows_how_to_send_a_key(guarded: GuardedServer) -> None:
    document = httpx.get(f"{guarded.url}/openapi.json", trust_env=False).json()
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    submit = document["paths"]["/jobs"]["post"]
    assert submit["security"] == [{"key": ["write"]}]
    assert {"401", "403"} <= submit["responses"].keys()
    assert document["paths"]["/healthz"]["get"]["security"] == []


def test_the_last_use_is_known_once_the_server_has_stopped(tmp_path: Path) -> None:
    with GuardedServer(tmp_path / "data", "/healthz", workers=0) as server:
        assert server.admin.client.get("/jobs").status_code == 200
        idle = server.holder("read")
    database = Database(str(server.database.engine.url))
    used = {row.id: row.last_used_at for row in keys.listed(database)}
    assert used[server.admin.id] is not None
    assert used[idle.id] is None
    database.dispose()


def serve(data_dir: Path, *words: str, **settings: str) -> "subprocess.Popen[str]":
    own = {f"ONELAYER_{name.upper()}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "0", "--data-dir", str(data_dir), *words],
        env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "settings"), [(["--host", "0.0.0.0"], {}), ([], {"auth": "required"}), (["--host", "::"], {})]
)
def test_a_server_for_others_refuses_to_start_without_a_key(
    tmp_path: Path, words: list[str], settings: dict[str, str]
) -> None:
    process = serve(tmp_path / "data", *words, **settings)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "onelayer keys create" in said
    assert "--no-auth" in said
    assert "Traceback" not in said


@pytest.fixture
def first_start(tmp_path: Path) -> Iterator[RunningServer]:
    settings = {"host": "0.0.0.0", "first_key": "true", "workers": 0}
    with RunningServer(tmp_path / "data", ready="/healthz", **settings) as server:
        yield server


def test_the_first_start_in_a_container_prints_an_admin_key_and_the_second_does_not(first_start: RunningServer) -> None:
    (token,) = re.findall(r"ol_[0-9a-f]{12}_[\w-]{43}", first_start.log.read_text())
    client = first_start.client
    assert client.get("/datasets").status_code == 401
    made = client.post("/datasets", json={"source": LINE}, headers={"Authorization": f"Bearer {token}"})
    assert made.json()["owner"] == token.split("_")[1]
    first_start.stop()
    first_start.start()
    assert first_start.log.read_text().count("ol_") == 1
    assert client.get("/datasets", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_without_auth_everyone_is_served(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", ready="/healthz", host="0.0.0.0", auth="off", workers=0) as server:
        assert server.client.get("/datasets", headers={"Authorization": "Basic eA=="}).status_code == 200
        assert server.client.get("/datasets", headers={"Host": "evil.example"}).status_code == 200


def test_on_loopback_no_key_is_needed_but_by_web_pages_and_proxies(server: RunningServer) -> None:
    assert server.client.get("/datasets").status_code == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Host": f"evil.example:{server.port}"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Authorization": "Bearer nonsense"},
    ):
        reply = server.client.post("/jobs/latest/cancel", headers=headers)
        assert reply.status_code == 401, headers
        assert server.client.get("/healthz", headers=headers).status_code == 200


def test_on_loopback_a_key_counts_and_what_it_makes_is_its_owners(server: RunningServer) -> None:
    database = Database(f"sqlite:///{server.data_dir / 'onelayer.db'}")
    ann, bob = (Holder(server.url, str(keys.create(database, Scope.WRITE))) for _ in range(2))
    made = ann.make_line("line-of-a-key")
    free = server.create_dataset(LINE)["id"]
    assert ann.client.get(f"/datasets/{made}").status_code == 200
    assert bob.client.get(f"/datasets/{made}").status_code == 404
    assert bob.client.get(f"/datasets/{free}").status_code == 200
    assert bob.client.delete(f"/datasets/{free}").status_code == 403
    for path in made, free:
        assert server.client.delete(f"/datasets/{path}").status_code == 204
    for holder in ann, bob:
        holder.client.close()
    database.dispose()


def test_what_was_made_without_a_key_is_given_to_an_owner(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", ready="/healthz", workers=0) as server:
        database = Database(f"sqlite:///{server.data_dir / 'onelayer.db'}")
        free = server.create_dataset(LINE)["id"]
        ann = Holder(server.url, str(keys.create(database, Scope.WRITE)))
        assert ann.client.delete(f"/datasets/{free}").status_code == 403
        command = [sys.executable, "-m", "app", "keys", "adopt", ann.id, "--data-dir", str(server.data_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == "Adopted: 1 datasets, 0 jobs, 0 models, 0 model names.\n", done.stderr
        assert ann.client.delete(f"/datasets/{free}").status_code == 204
        ann.client.close()
        database.dispose()

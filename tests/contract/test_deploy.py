"""How the service is run: systemd's units, the container's health check, and what the document says of proxies."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app.edge import gate
from app.routers.dependencies import LONGEST_WAIT_SECONDS
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ["onelayer.service", "onelayer-worker@.service"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def example(opening: str) -> str:
    """The first block of code behind the line that begins so."""
    _, _, behind = OPERATIONS.partition(f"\n{opening}")
    found = re.search(r"^```[a-z]*\n(.*?)^```$", behind, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def installed(*names: str) -> list[str]:
    """Where these programs are; some distributions keep a few from the path of those who are not root."""
    found = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in names]
    if None in found:
        pytest.skip(f"{' and '.join(names)} would have to be installed")
    return [str(name) for name in found]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key in one file."""
    (openssl,) = installed("openssl")
    file = tmp_path / "onelayer.pem"
    command = [openssl, "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=onelayer.example.org"]
    subprocess.run([*command, "-keyout", file, "-out", tmp_path / "alone"], check=True, capture_output=True, timeout=60)
    file.write_text(file.read_text() + (tmp_path / "alone").read_text())
    return file


def understood(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_for_nginx_is_understood(tmp_path: Path, certificate: Path) -> None:
    (nginx,) = installed("nginx")
    # Sockets with names, since the ports are root's, or another's.
    text = re.sub(r"listen (\d+)", rf"listen unix:{tmp_path}/\1", example("nginx,"))
    text = re.sub(r"/etc/ssl/onelayer\.\w+", str(certificate), text).replace("/var/log/nginx", str(tmp_path))
    for kind in ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]:
        text += f"{kind}_temp_path {tmp_path}/{kind};\n"
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n")

    understood(nginx, "-t", "-p", tmp_path, "-c", file)


def test_the_example_for_haproxy_is_understood(tmp_path: Path, certificate: Path) -> None:
    (haproxy,) = installed("haproxy")
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        "global\n    log stdout format raw local0\n"
        + example("HAProxy,").replace("/etc/ssl/onelayer-with-key.pem", str(certificate))
    )

    understood(haproxy, "-c", "-f", file)


def test_the_example_for_caddy_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (caddy,) = installed("caddy")
    file = tmp_path / "Caddyfile"
    file.write_text(example("Caddy,"))
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]:
        monkeypatch.setenv(name, str(tmp_path))

    understood(caddy, "validate", "--adapter", "caddyfile", "--config", file)


def test_the_proxies_of_the_examples_wait_for_the_slowest_reply() -> None:
    waits = [
        re.findall(r"proxy_read_timeout (\d+)h;", example("nginx,")),
        re.findall(r"timeout (?:client|server) (\d+)h", example("HAProxy,")),
    ]
    slowest = max(LONGEST_WAIT_SECONDS, Settings.model_fields["request_seconds"].default)

    assert [len(found) for found in waits] == [1, 2]
    assert all(int(hours) * 3600 > slowest for found in waits for hours in found)


@pytest.mark.parametrize("proxy", ["nginx,", "HAProxy,"])
def test_a_proxy_of_the_examples_replaces_just_the_ids_that_the_server_would(proxy: str) -> None:
    assert f"^{gate._SANE.pattern.decode()}$" in example(proxy)


def test_the_example_for_prometheus_sends_no_key_in_clear() -> None:
    assert re.search(r"^    scheme: https\b", example("## Metrics"), re.MULTILINE)


def unit(name: str) -> ConfigParser:
    found = ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(DEPLOY / name)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_of_systemd_names_settings_that_exist_and_gives_no_rights_away(name: str) -> None:
    named = set(re.findall(r"ONELAYER_([A-Z_]+)=", (DEPLOY / name).read_text())) - {"…"}
    service = unit(name)["Service"]

    assert {setting.lower() for setting in named} <= set(Settings.model_fields)
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_of_systemd_is_understood(name: str, tmp_path: Path) -> None:
    (analyze,) = installed("systemd-analyze")
    for other in UNITS:
        text = (DEPLOY / other).read_text().replace("/opt/onelayer/bin/onelayer", shutil.which("true") or "")
        (tmp_path / other).write_text(text)
    file = tmp_path / name.replace("@", "@0")
    if not file.exists():
        file.symlink_to(name)

    said = subprocess.run([analyze, "verify", file], capture_output=True, text=True, check=False, timeout=60)

    assert [line for line in said.stderr.splitlines() if "onelayer" in line] == []


def test_the_units_of_the_server_and_of_a_worker_are_one_user_with_the_same_rights() -> None:
    server, worker = (dict(unit(name)["Service"]) for name in UNITS)

    assert server.pop("ExecStart").endswith("/onelayer serve")
    assert worker.pop("ExecStart").endswith("/onelayer worker --workers 1")
    assert worker == server
    assert server["User"] == "onelayer"


class Ready(BaseHTTPRequestHandler):
    """Answers /readyz, and nothing else."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def ready() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Ready,), {}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_the_health_check_of_the_image_asks_the_server_and_no_proxy(
    ready: HTTPServer, status: int, exit_status: int
) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (_, *arguments) = json.loads(dockerfile.partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("\n")[0])
    ready.RequestHandlerClass.status = status  # type: ignore[attr-defined]
    proxies = dict.fromkeys(["http_proxy", "HTTP_PROXY", "all_proxy"], "http://127.0.0.1:1")
    environment = {**os.environ, **proxies, "ONELAYER_PORT": str(ready.server_port)}

    ended = subprocess.run([sys.executable, *arguments], env=environment, check=False, timeout=60)

    assert ended.returncode == exit_status

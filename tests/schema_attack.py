"""An attack by schemathesis on a running server: requests made up from the OpenAPI document, every reply checked."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.running_server import RunningServer

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SETTINGS = {"synthetic_cells_limit": 100_000}
"""Of the server: data made in memory is to be small, since there will be much of it."""

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 200, "noise_std": 0.01, "seed": 0}
NAMES = {"dataset": "line", "model": "line", "name": "line", "alias": "champion", "job": "latest", "version": "1"}


@dataclass(frozen=True)
class Outcome:
    """How many requests were made, and what was wrong with the replies."""

    cases: int
    failed: bool
    report: str


def prepare(server: RunningServer) -> None:
    """Make what the document's examples speak of, as far as it is not there."""
    if server.client.get("/datasets/line").status_code == 404:
        server.create_dataset(LINE, name="line")
    server.train(dataset="line", model="linear", epochs=3, batch_size=10, learning_rate=0.03, model_name="line")
    version = server.client.get("/models/line").json()["version"]
    assert server.client.put("/models/line/aliases/champion", json={"version": version}).status_code == 200


def attack(server: RunningServer, examples: int, seed: int, seconds: int) -> Outcome:
    """Every phase, stateful too, with every check."""
    return _run(server, CONFIG, "--max-examples", str(examples), "--seed", str(seed), seconds=seconds)


def attack_what_exists(server: RunningServer, examples: int, seed: int, seconds: int) -> Outcome:
    """The same, with names in the paths that exist, so that what lies behind them is reached each time."""
    parameters = "\n".join(f'"path.{name}" = "{value}"' for name, value in NAMES.items())
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(f"[parameters]\n{parameters}\n\n{CONFIG.read_text()}")
        options = ("--phases", "fuzzing", "--exclude-method", "DELETE")
        return _run(
            server, config, *options, "--max-examples", str(examples), "--seed", str(seed), seconds=seconds
        )  # fmt: skip


def _run(server: RunningServer, config: Path, *options: str, seconds: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
            f"{server.url}/openapi.json", "--checks", "all", "--continue-on-failure", "--request-timeout", "20",
            "--no-color", "--no-shrink", *options,
        ]  # fmt: skip
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)}
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    found = re.search(r"([\d,]+) generated", ended.stdout)
    cases = int(found[1].replace(",", "")) if found else 0
    return Outcome(cases, ended.returncode != 0, f"{ended.stdout[-15000:]}\n{ended.stderr[-2000:]}")

"""A load on a running server: one kind of request over some connections, and the latency that it meets.

`wrk` sends it where it is installed, else a small client of our own, slower itself than what it measures.
"""

import re
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

CONNECTIONS = 16
PAUSE_SECONDS = 0.5
"""What the load before has left unanswered is none of this one's latency."""


@dataclass(frozen=True)
class Load:
    """One kind of request."""

    name: str
    path: str
    body: bytes
    headers: dict[str, str]
    rows: int = 1


@dataclass
class Measured:
    """What a route did in its best round."""

    per_second: float
    p50_ms: float
    p99_ms: float


def measure(url: str, load: Load, seconds: float, folder: Path, connections: int = CONNECTIONS) -> Measured:
    """One round."""
    check = httpx.post(url + load.path, content=load.body, headers=load.headers, trust_env=False)
    if check.status_code != 200:
        raise RuntimeError(f"{load.name}: {check.status_code} {check.text[:300]}")
    time.sleep(PAUSE_SECONDS)
    if shutil.which("wrk") is None:
        return _by_threads(url, load, seconds, connections)
    (folder / "body").write_bytes(load.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in load.headers.items())
    script = f'wrk.method = "POST"\n{headers}\nlocal f = io.open("{folder}/body", "rb")\nwrk.body = f:read("*all")\n'
    (folder / "script.lua").write_text(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", str(folder / "script.lua")]
    said = subprocess.run([*command, url + load.path], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None, said
    return Measured(float(rate[1]), _milliseconds(said, "50%"), _milliseconds(said, "99%"))


def _milliseconds(said: str, which: str) -> float:
    found = re.search(rf"{which}\s+([\d.]+)(us|ms|s)", said)
    assert found is not None, said
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _by_threads(url: str, load: Load, seconds: float, connections: int) -> Measured:
    """Where there is no wrk: slower itself than what it measures, so its ratios flatter."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def ask() -> None:
        with httpx.Client(trust_env=False) as client:
            while time.perf_counter() < end:
                start = time.perf_counter()
                client.post(url + load.path, content=load.body, headers=load.headers)
                times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = statistics.quantiles(times, n=100)
    return Measured(len(times) / seconds, found[49] * 1e3, found[98] * 1e3)

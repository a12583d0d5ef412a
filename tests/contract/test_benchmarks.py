"""The benchmarks are no tests, but they must start: every name that one imports has to exist."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import benchmarks

ROOT = Path(__file__).resolve().parents[2]


def test_every_benchmark_can_be_imported() -> None:
    names = [f"benchmarks.{module.name}" for module in pkgutil.iter_modules(benchmarks.__path__)]
    imports = "; ".join(f"import {name}" for name in names if not name.endswith("__main__"))

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", imports],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr

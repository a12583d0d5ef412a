"""Known weaknesses of what is locked, as pip-audit finds them; where its data cannot be had, that is said instead."""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
SECONDS = 120


def audit(lock: Path = LOCK) -> int:
    """Ask; returns 1 if something locked is known to be weak."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes"]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=SECONDS, check=False)
        found = json.loads(ended.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"pip-audit: skipped, since no answer came within {SECONDS} s")
        return 0
    except ValueError:
        print(f"pip-audit: skipped, since its data cannot be had: {(ended.stderr.strip().splitlines() or ['?'])[-1]}")
        return 0
    weak = {package["name"]: package for package in found if package.get("vulns")}
    for name, package in weak.items():
        for weakness in package["vulns"]:
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            print(f"{name} {package['version']}: {weakness['id']}, mended in {fixed}")
    print(f"pip-audit: {len(found)} packages, {len(weak)} with known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(audit())

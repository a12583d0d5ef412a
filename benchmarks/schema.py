"""The OpenAPI document as an attack: twenty thousand requests made up from it, and every reply checked."""

import tempfile
import time
from pathlib import Path

from tests.running_server import RunningServer
from tests.schema_attack import SETTINGS, attack, attack_what_exists, prepare

CASES = 20_000
EXAMPLES = 100


def run() -> None:
    """Go on, with one seed after the other, until there were enough."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data", **SETTINGS) as server:
        prepare(server)
        began, cases, seed = time.monotonic(), 0, 0
        while cases < CASES:
            seed += 1
            outcomes = [assault(server, EXAMPLES, seed, 900) for assault in (attack_what_exists, attack)]
            cases += sum(outcome.cases for outcome in outcomes)
            for outcome in outcomes:
                if outcome.failed:
                    print(outcome.report)
            print(f"seed {seed}: {cases} requests after {time.monotonic() - began:.0f} s", flush=True)
            if any(outcome.failed for outcome in outcomes):
                raise SystemExit("a reply was not as the document says")
            if server.client.get("/models/line").status_code == 404:
                prepare(server)
        faults = server.log.read_text().count('"level":"error"')
        print(f"{cases} requests, every reply as documented; {faults} errors in the log")

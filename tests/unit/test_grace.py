"""The grace of a stop: nobody is killed by who waits for him before his own time is up."""

import re
from pathlib import Path

from app import grace

ROOT = Path(__file__).resolve().parents[2]


def seconds(file: str, pattern: str) -> float:
    (found,) = re.findall(pattern, (ROOT / file).read_text())
    return float(found)


def test_each_is_given_less_than_whoever_waits_for_it():
    assert grace.TRAINING_SECONDS < grace.WORKERS_SECONDS < grace.SUPERVISOR_SECONDS
    assert grace.SPANS_SECONDS <= grace.SUPERVISOR_SECONDS


def test_a_server_has_ended_before_it_would_be_killed():
    killed_by = [
        seconds("compose.yaml", r"stop_grace_period: (\d+)s"),
        seconds("deploy/onelayer.service", r"TimeoutStopSec=(\d+)"),
        seconds("app/demo/server.py", r"STOP_SECONDS = ([\d.]+)"),
    ]

    assert min(killed_by) > grace.REPLIES_SECONDS + grace.SUPERVISOR_SECONDS

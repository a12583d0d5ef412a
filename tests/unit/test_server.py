"""The server's start: what has to happen before NumPy is there, and after everything is."""

import subprocess
import sys

PREPARED = """
import os, sys
from app import server
assert not {"numpy", "pyarrow"} & set(sys.modules), "too late"
server.prepare()
import numpy
matrix = numpy.ones((800, 800))
matrix @ matrix
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""
SETTLED = """
import gc
from app import memory
made = [[] for _ in range(1000)]
memory.settle()
print(gc.get_freeze_count() > 1000, gc.get_count()[2])
"""


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_products_of_the_server_take_one_thread() -> None:
    assert said(PREPARED) == "1"


def test_what_the_start_has_made_is_no_longer_looked_through_for_garbage() -> None:
    assert said(SETTLED) == "True 0"

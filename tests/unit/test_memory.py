"""What a server's process does without."""

import subprocess
import sys

CODE = """
from app import memory
memory.spare()
import pyarrow as pa
import app.main
assert pa.array([1, 2, None]).to_pylist() == [1, 2, None]
import sys
print(sum(name.partition(".")[0] == "pandas" for name in sys.modules))
"""


def test_a_server_does_not_load_pandas_where_it_is_installed() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.split() == ["0"]

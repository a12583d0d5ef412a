"""The launcher, with a script in the place of the supervisor."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app import grace
from app.settings import Settings
from app.worker import launcher as module
from app.worker.launcher import Launcher
from tests.patience import until

SERVER = """
import sys
from pathlib import Path
from app.settings import Settings
from app.worker.launcher import Launcher

python, sys.executable = sys.executable, sys.argv[1]
Launcher(Settings(data_dir=Path(sys.argv[2]))).start()
print("started", flush=True)
sys.stdin.read()
"""

UNTIL_ITS_INPUT_ENDS = "cat > /dev/null; echo $$ >> ended"


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of Python: whatever it is, the launcher takes it for the supervisor."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\ncd {program.parent}\necho $$ >> started\n{script}\n")
    program.chmod(0o755)


def pids(folder: Path, file: str) -> list[int]:
    return [int(line) for line in (folder / file).read_text().split()] if (folder / file).exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def launcher(supervisor: Path, tmp_path: Path) -> Iterator[Launcher]:
    made = Launcher(Settings(data_dir=tmp_path / "data", workers=3))
    yield made
    made.stop()
    made._keeper.join(60)
    assert not made._keeper.is_alive()


def test_the_workers_end_in_order_when_they_are_stopped(supervisor: Path, launcher: Launcher, tmp_path: Path):
    write(supervisor, UNTIL_ITS_INPUT_ENDS)
    launcher.start()
    until(lambda: pids(tmp_path, "started"))
    assert not pids(tmp_path, "ended")

    launcher.stop()

    assert pids(tmp_path, "ended") == pids(tmp_path, "started")
    assert not is_alive(pids(tmp_path, "started")[0])


def test_workers_that_do_not_listen_to_reason_are_killed(
    supervisor: Path, launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grace, "SUPERVISOR_SECONDS", 0.1)
    write(supervisor, "exec sleep 60")
    launcher.start()
    until(lambda: pids(tmp_path, "started"))

    launcher.stop()

    assert not is_alive(pids(tmp_path, "started")[0])


def test_workers_that_died_are_started_again(supervisor: Path, launcher: Launcher, tmp_path: Path):
    write(supervisor, f"test $(wc -l < started) -ge 3 || exit 7; {UNTIL_ITS_INPUT_ENDS}")
    with capture_logs() as logged:
        launcher.start()
        until(lambda: len(pids(tmp_path, "started")) == 3)

    assert [line["exit_status"] for line in logged] == [7, 7]
    assert is_alive(pids(tmp_path, "started")[-1])


def test_workers_that_were_stopped_are_not_started_again(supervisor: Path, launcher: Launcher, tmp_path: Path):
    write(supervisor, UNTIL_ITS_INPUT_ENDS)
    launcher.start()
    until(lambda: pids(tmp_path, "started"))

    launcher.stop()
    launcher._keeper.join(60)

    assert not launcher._keeper.is_alive()
    assert len(pids(tmp_path, "started")) == 1


def test_workers_that_are_just_being_started_again_are_stopped_too(
    supervisor: Path, launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(supervisor, f"test $(wc -l < started) -ge 2 || exit 7; {UNTIL_ITS_INPUT_ENDS}")
    stop = threading.Thread(target=launcher.stop)
    launch = Launcher._launch

    def stopped_meanwhile(self: Launcher) -> subprocess.Popen[bytes]:
        launched = launch(self)
        if self._process is not None:  # the first one was kept and has died: this is the second
            until(lambda: len(pids(tmp_path, "started")) == 2)
            stop.start()
            time.sleep(0.1)  # time enough for a `stop` that does not wait for what is going on
        return launched

    monkeypatch.setattr(Launcher, "_launch", stopped_meanwhile)
    launcher.start()
    until(lambda: stop.ident is not None)
    stop.join()

    assert pids(tmp_path, "ended") == pids(tmp_path, "started")[1:]


def test_to_stop_what_was_never_started_is_no_error(tmp_path: Path):
    Launcher(Settings(data_dir=tmp_path)).stop()


def test_workers_have_the_servers_settings_and_hear_no_ctrl_c_of_its_terminal(
    supervisor: Path, launcher: Launcher, tmp_path: Path
):
    write(supervisor, f"env > environment; echo $@ > arguments; {UNTIL_ITS_INPUT_ENDS}")
    launcher.start()
    until((tmp_path / "arguments").exists)

    assert (tmp_path / "arguments").read_text() == "-m app.worker\n"
    environment = (tmp_path / "environment").read_text().splitlines()
    assert f"ONELAYER_DATA_DIR={tmp_path / 'data'}" in environment
    assert "ONELAYER_WORKERS=3" in environment
    started = pids(tmp_path, "started")[0]
    assert os.getpgid(started) != os.getpgid(0)
    assert os.getsid(started) == os.getsid(0)  # or niceness would not count between them


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_the_server_dies_however_it_dies(tmp_path: Path, end: signal.Signals):
    program = tmp_path / "python"
    write(program, UNTIL_ITS_INPUT_ENDS)
    command = [sys.executable, "-c", SERVER, str(program), str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"started\n"
        until(lambda: pids(tmp_path, "started"))

        server.send_signal(end)
        server.wait()

    until(lambda: pids(tmp_path, "ended"))
    assert pids(tmp_path, "ended") == pids(tmp_path, "started")


def test_the_server_launches_workers_without_loading_torch():
    code = "import sys, app.worker.launcher; print({'torch', 'numba'} & set(sys.modules))"

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout == "set()\n"


def test_workers_that_cannot_be_started_again_are_tried_for(supervisor: Path, launcher: Launcher, tmp_path: Path):
    write(supervisor, "test -e gone || { touch gone; rm python; exit 7; }; cat > /dev/null")
    with capture_logs() as logged:
        launcher.start()
        until(lambda: any("cannot be started" in line["event"] for line in logged))
    write(supervisor, UNTIL_ITS_INPUT_ENDS)

    until(lambda: len(pids(tmp_path, "started")) == 2)

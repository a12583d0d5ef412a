"""The supervisor of the workers as the server launches it: it ends when its standard input does."""

import sys

from app import memory
from app.settings import Settings

if __name__ == "__main__":
    memory.spare()
    from app.worker.supervisor import Supervisor

    sys.exit(Supervisor(Settings(), lifeline=sys.stdin.buffer).run())

"""The supervisor of the workers as the server launches it: it ends when its standard input does."""

import sys

from app.settings import Settings
from app.worker.supervisor import Supervisor

if __name__ == "__main__":
    sys.exit(Supervisor(Settings(), lifeline=sys.stdin.buffer).run())

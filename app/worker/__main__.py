"""The supervisor of the workers as the server launches it: it ends when its standard input does."""

import sys

from app import logs, memory
from app.settings import Settings

if __name__ == "__main__":
    memory.spare()
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format)
    from app.worker.supervisor import Supervisor

    sys.exit(Supervisor(settings, lifeline=sys.stdin.buffer).run())

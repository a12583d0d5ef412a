"""The grace of a stop: how long each who is told to end may take; whoever waits for it has a little more.

compose 10 s, systemd 15 s, then they kill
  └─ the server: first what it still owes      REPLIES_SECONDS
     └─ then the supervisor of its workers     SUPERVISOR_SECONDS, and beside it the traces: SPANS_SECONDS
        └─ all its workers                     WORKERS_SECONDS
           └─ a training, until it has heard   TRAINING_SECONDS
"""

REPLIES_SECONDS = 3
SUPERVISOR_SECONDS = 4.0
SPANS_SECONDS = 2.0
WORKERS_SECONDS = 3.0
TRAINING_SECONDS = 0.7 * WORKERS_SECONDS
"""Who is killed instead has lost an attempt."""

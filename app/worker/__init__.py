"""The worker: claims a job, encodes its data, trains, records the loss history, saves the model.

API process ── Launcher ──► supervisor (torch, numba loaded; never computes) ──fork──► worker, worker, …
"""

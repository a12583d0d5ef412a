"""Benchmarks: what is promised of speed, measured. One module for each subject, with a function `run()`."""

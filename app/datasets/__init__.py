"""Datasets: read, checked, profiled and kept; then split and encoded for training.

upload or recipe ► reader (one per format) ► ingest (types, checks, hash, files) ► profile ► catalogue;
catalogue ► splitting ► encoding ► X and y
"""

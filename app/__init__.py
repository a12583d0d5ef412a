"""Onelayer: trains and serves single-layer models, linear and softmax regression, over HTTP."""

__version__ = "0.1.0"

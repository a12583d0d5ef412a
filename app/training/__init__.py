"""Training: pure mathematics from arrays to a stream of epochs.

`hyperparameters` declares the options and `fit.fit` runs them. Neither this file nor the declarations import
torch or numba, so that the API process can read them.
"""

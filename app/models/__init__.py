"""Models: what training leaves. Kept, named, versioned, and asked for predictions.

A model is a row and a folder `models/<id>`, and never changes:

    weights.safetensors      weights, bias, and the statistics of the training rows
    encoding.json            how columns become features, and the target
    statistics.safetensors   the errors of the coefficients, or why there are none
"""

"""Models: what training leaves. Kept, named, versioned, and asked for predictions.

A model is a folder `models/<id>` with `weights.safetensors` and `encoding.json`, and a row. It never changes.
"""

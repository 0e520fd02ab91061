"""One model: encoding, the search for settings, training, the bundle on disk, its manifest, and its reproduction.

Not here: metrics of a model (`evaluation`), or the active model (`registry`).
May import: `storage`, `execution`, `data`.
"""

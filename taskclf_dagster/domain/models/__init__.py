"""One model: encoding, training, the bundle on disk, its manifest, and whether it can be reproduced.

Not here: how good a model is (`evaluation`), or which model is active (`registry`).
May import: `storage`, `data`.
"""

"""Engines: they place the work on parts of a dataset in this process, or on the workers of a cluster.

Not here: what is done with a part (`domain.data`, `domain.models`). Nothing but time and memory depends on where it is done, except the
trees of a model.
May import: `storage`.
"""

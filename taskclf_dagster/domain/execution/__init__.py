"""The engine and the trainer: work on parts of a dataset is done in this process, or on the workers of a cluster.

Not here: what is done with a part (`data`, `models`). Nothing but time and memory depends on where it is done, except the trees of a model.
May import: `storage`.
"""

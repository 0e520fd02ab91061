"""From a home's windows and labels to a dataset: feature schema, contract checks, label projection, split, snapshot.

Not here: vocabularies and matrices (`models`).
May import: `storage`.
"""

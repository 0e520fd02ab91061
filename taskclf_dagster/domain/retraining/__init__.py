"""The steps of a retrain that join several packages: reports on both models, the decision, applying it, comparing two models.

Not here: the computation of one step (its own package), or Dagster assets (`defs/assets`).
May import: every package of the domain but `scheduling`, `monitoring`, `probation` and those above them.
"""

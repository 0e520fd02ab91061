"""Replays of the past: policies of retraining on the history of a home, and stored receipts under other thresholds.

Not here: a computation of one step (its own package), reports for people (`reporting`), or Dagster assets (`defs/assets`).
May import: every package of the domain but `reporting`.
"""

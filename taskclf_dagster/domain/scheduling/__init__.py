"""The reasons to launch a retrain: cadence, triggers, label arrival, retries; and the run lock.

Not here: launching runs (`defs/automation`), or the steps of a run (`retraining`).
May import: every package of the domain but `retraining`.
"""

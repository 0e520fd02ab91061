"""When to retrain: cadence, triggers, label arrival, retries, and the lock that lets one retrain run at a time.

Not here: launching runs (`defs/automation`), or what a run does (`retraining`).
May import: every package of the domain but `retraining`.
"""

"""Probation: the model before a promotion beside the new one on later labels, the way back, and its drill.

Not here: the record (`decision.probation`), or the rollback itself (`registry`).
May import: `trials`, whose days and counts it shares, `retraining`, of which the drill makes its models, and what these may import.
"""

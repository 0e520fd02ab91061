"""From figures to a verdict: the gates, the decision receipt, its verification, and the last decided run.

Not here: moving the pointer (`registry`).
May import: `storage`, `events`, `data`, `models`, `evaluation`.
"""

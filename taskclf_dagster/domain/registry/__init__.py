"""The file registry in `models/`: pointer, history, policy, champion; promotion, rollback, recovery, retention, fsck.

Not here: whether a model should be promoted (`decision`). Only this package writes to `models/`.
May import: `storage`, `events`, `data`, `models`, `evaluation`, `decision`.
"""

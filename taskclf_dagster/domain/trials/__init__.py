"""Trials: a challenger that was held beside the active model on later labels, the decision that follows, and its proof.

Not here: the bounds (`evaluation.sequential`), the record (`decision.trial`), or the days after a promotion (`probation`).
May import: `registry` and what it may import.
"""

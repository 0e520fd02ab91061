"""Events for other programs: the envelope, the outbox, the sinks, and delivery at least once.

Not here: building the events of a decision (`decision`) or of a pointer change (`registry`).
May import: `storage`.
"""

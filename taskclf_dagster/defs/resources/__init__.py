"""The resources and the I/O manager: home, clock, settings of a run, run supervisor, and the records between assets.

Not here: computing (`domain`).
May import: `runs`, `domain`, `config`.
"""

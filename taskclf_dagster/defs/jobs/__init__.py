"""The jobs and their launch forms: `retrain`, and those of the registry.

Not here: what a job does (`assets`, `domain.registry`).
May import: `assets`, `display`, `resources`, `runs`, `domain`.
"""

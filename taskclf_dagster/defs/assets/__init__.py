"""The seven assets of a retrain, each with the checks that it yields itself.

Not here: computing (`domain`), tables and pictures (`display`).
May import: `display`, `resources`, `runs`, `domain`.
"""

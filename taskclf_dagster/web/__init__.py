"""The page, its JSON API, and the server that shows both beside Dagster's own pages, on one port.

Not here: what they show (`status`, `domain.reporting`), and what changes anything (`domain.registry`, the jobs in `defs`).
May import: everything but `cli`.
"""

"""The command `taskclf-dagster`. Commands print records; nothing is decided here.

Not here: reading Dagster's instance for status and history (`status`).
May import: everything below it: `status`, `definitions`, `defs`, `domain`, `demo`, `config`.
"""

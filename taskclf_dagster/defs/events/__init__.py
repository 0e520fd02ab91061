"""The sensor that delivers events, the sinks of the configuration, and events about runs and pointer changes.

Not here: formats and delivery (`domain.events`).
May import: `resources`, `runs`, `domain`.
"""

"""Settings of a retrain: the typed models, YAML files, environment variables and cron lines.

Not here: what a single run may change (`defs/resources`).
May import: `errors`.
"""

"""The configuration of a retrain: typed settings, and their sources (YAML files, environment variables).

Not here: what a single run may change (`defs/resources`).
May import: `errors`.
"""

"""The Dagster definitions: assets, checks, jobs, resources, runs, automation, events and what pages show.

Not here: computing and deciding (`domain`), printing (`cli`).
May import: `domain`, `config`, `provenance`. Order inside: see the layers in pyproject.toml.
"""

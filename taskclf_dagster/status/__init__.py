"""State and history of a home's retraining as records, read from the instance or over GraphQL.

Not here: printing them (`cli`).
May import: `defs`, `domain`, `config`.
"""

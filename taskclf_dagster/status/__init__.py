"""Status and run history of a home as records, read from the instance or over GraphQL.

Not here: printing them (`cli`).
May import: `defs`, `domain`, `config`; the clients and `records` import none of these.
"""

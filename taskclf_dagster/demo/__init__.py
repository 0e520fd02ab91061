"""A demo home: invented people, their days, and the files that taskclf would have written.

Not here: anything that the product depends on.
May import: `domain.data`, `domain.storage`, `home`.
"""

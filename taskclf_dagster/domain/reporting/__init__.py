"""What a decision says in plain words, its HTML report, and the card of a model.

Not here: metadata of Dagster's pages (`defs.display`). Nothing is decided or computed anew.
May import: every other package of the domain.
"""

"""The plain words for a decision and its gates, and the HTML report of a decision.

Not here: metadata of Dagster's pages (`defs.display`). Nothing is decided or computed anew.
May import: every other package of the domain.
"""

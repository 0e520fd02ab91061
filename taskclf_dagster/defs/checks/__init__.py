"""Asset checks that run on their own: each reads what an asset wrote and checks one claim about it.

Not here: checks that an asset yields itself, such as gates and data contracts (`assets`).
May import: `assets`, `resources`, `domain`.
"""

"""Asset checks that run on their own: each reads what an asset wrote and checks one claim about it.

Checks that an asset yields itself, such as the gates, are defined with the asset.
"""

"""Checks that run on their own: they read what an asset wrote and say whether a claim about it holds.

Checks that an asset yields itself, such as the gates, stand with the asset.
"""

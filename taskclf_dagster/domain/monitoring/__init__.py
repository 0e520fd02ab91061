"""Watches the active model after its promotion: what it predicts, how the data drift, and how it does on labels that come later.

Nothing here promotes a model; what is found can request a retrain.
"""

"""The JSON API below /api/ml/retrain/: its requests, its records on the wire, and the OpenAPI document made of both.

Not here: reading the home (`status`), and what guards every route of the server (`web.security`).
May import: everything but `cli`.
"""

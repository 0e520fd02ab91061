"""Figures: metrics of one model, baselines, leakage, and the comparison of two models with its significance.

Not here: thresholds and verdicts (`decision`).
May import: `storage`, `data`, `models`.
"""

"""What retraining means: plain Python over records, frames and files.

Nothing here imports dagster, reads a clock or looks at the environment; times, paths and settings come in as arguments.
"""

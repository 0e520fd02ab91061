"""The base of every error that this package raises on purpose."""


class TaskclfDagsterError(Exception):
    """Base of all errors raised by this package."""

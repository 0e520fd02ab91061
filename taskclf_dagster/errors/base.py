"""The base of every error that this package raises on purpose."""


class TaskclfDagsterError(Exception):
    """Base of all errors raised by this package. They can be pickled, with their cause, as errors of another process are."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__, self.__cause__)


def _rebuild(
    kind: type[TaskclfDagsterError], args: tuple[object, ...], attributes: dict[str, object], cause: BaseException | None
) -> TaskclfDagsterError:
    """Returns the error that was pickled. Its constructor is not called: it builds the message from what was known then."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    error.__cause__ = cause
    return error

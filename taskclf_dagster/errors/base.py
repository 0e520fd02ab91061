"""The base of every error that this package raises on purpose."""

from typing import Any, Self


class TaskclfDagsterError(Exception):
    """Base of all errors raised by this package. They can be pickled, with their cause, as errors of another process are."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _rebuild, (type(self), self.args, self.__dict__, self.__cause__)

    @classmethod
    def _restore(cls, args: tuple[Any, ...], attributes: dict[str, Any], cause: BaseException | None) -> Self:
        error = cls.__new__(cls, *args)
        error.args = args
        error.__dict__.update(attributes)
        error.__cause__ = cause
        return error


def _rebuild(
    kind: type[TaskclfDagsterError], args: tuple[Any, ...], attributes: dict[str, Any], cause: BaseException | None
) -> TaskclfDagsterError:
    """Returns the error that was pickled. Its constructor is not called: it builds a message of what was known then."""
    return kind._restore(args, attributes, cause)

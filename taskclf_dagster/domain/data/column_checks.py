"""Violations of the data contract in the columns of a parquet file: missing, twice, of the wrong type, or with bytes that are no text.

Values of windows are checked in `contract_checks`, those of label spans in `label_store`.
"""

from collections.abc import Callable, Iterable

import pyarrow as pa

from taskclf_dagster.domain.data.contract_checks import ContractViolation
from taskclf_dagster.domain.data.feature_schema import ColumnType, FeatureSchema

_IS_TYPE: dict[ColumnType, Callable[[pa.DataType], bool]] = {
    "str": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_null(t),
    "int": lambda t: pa.types.is_integer(t) or pa.types.is_floating(t),
    "float": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t) or pa.types.is_null(t),
    "bool": pa.types.is_boolean,
    "datetime": pa.types.is_timestamp,
    "list": lambda t: pa.types.is_list(t) or pa.types.is_large_list(t),
}

REBUILD = "Let taskclf build the day again"


def has_type(found: pa.DataType, kind: ColumnType) -> bool:
    """Returns True if an arrow type, dictionary-encoded or not, can hold a column of the contract's type."""
    return _IS_TYPE[kind](found.value_type if pa.types.is_dictionary(found) else found)


def find_column_violations(present: pa.Schema, schema: FeatureSchema, name: str) -> list[ContractViolation]:
    """Finds columns of the schema that a file has twice, and required ones that it lacks or has with a type that cannot hold them."""
    violations = []
    for column, kind in schema.columns.items():
        required = column in schema.required_columns
        message = find_column_problem(present, column, kind if required else None, needs=f"schema {schema.version} needs")
        if message is not None and (required or column in present.names):
            violations.append(column_violation(name, column, f"{message}. {REBUILD}"))
    return violations


def find_column_problem(present: pa.Schema, column: str, kind: ColumnType | None, *, needs: str) -> str | None:
    """Returns what is wrong with one column of a file: it is missing, occurs twice, or has another type; None if it can be used.

    Args:
        present: the schema of the file.
        column: name of the column.
        kind: its type in the contract; None if it is not read, so that any type is accepted.
        needs: who needs it, for the message.
    """
    found = present.get_all_field_indices(column)
    if not found:
        return f"is missing; {needs} it as {kind}"
    if len(found) > 1:
        return f"occurs {len(found)} times, but {needs} it once"
    stored = present.field(found[0]).type
    return None if kind is None or has_type(stored, kind) else f"has type {stored}, but {needs} {kind}"


def find_text_violations(table: pa.Table, columns: Iterable[str], name: str, *, fix: str) -> list[ContractViolation]:
    """Finds columns of text whose bytes are not UTF-8; the first such row of each is named."""
    violations = []
    for column in columns:
        values = table[column]
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            text = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
            rows = enumerate(text.cast(pa.large_binary()).to_pylist())
            row, found = next(((row, each) for row, each in rows if not _is_utf8(each)), (None, b""))
            violations.append(column_violation(name, column, f"is {found!r}, which is not UTF-8. {fix}", row=row))
    return violations


def column_violation(name: str, column: str, message: str, *, row: int | None = None) -> ContractViolation:
    """Returns the violation of a column that a file has not as the contract demands."""
    return ContractViolation(check="columns_are_complete_and_typed", file=name, column=column, row=row, message=message)


def _is_utf8(text: bytes | None) -> bool:
    try:
        (text or b"").decode()
    except UnicodeDecodeError:
        return False
    return True

"""The seven assets. A body reads its inputs, calls one domain function and returns a record with metadata."""

"""The seven assets. Each body reads its inputs, calls the domain and returns a record with metadata."""

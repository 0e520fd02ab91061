"""Files of a home: the file-system seam, atomic writes, canonical JSON, the base class of records, file hashes.

Not here: the meaning of any file.
May import: nothing else of the domain.
"""

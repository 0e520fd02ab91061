"""Files of a home: the file-system seam, atomic writes, canonical JSON, record base class, file hashes.

Not here: what any file means.
May import: nothing else of the domain.
"""

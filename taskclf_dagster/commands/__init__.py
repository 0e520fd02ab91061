"""Commands of `taskclf-dagster` about the registry and the evidence. What they print comes from `domain`; nothing is decided here."""

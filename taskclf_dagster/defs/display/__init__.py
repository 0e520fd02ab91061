"""Metadata, tables and pictures that Dagster's pages show. Nothing a decision depends on is computed here."""

"""Completionist: a self-hosted server for the whole Chat Completions API, with real inference inside."""

__version__ = "0.1.0"

"""Durable state in SQLite or PostgreSQL, through one implementation."""

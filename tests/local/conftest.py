"""The 135M model's own vocabulary."""

from __future__ import annotations

from tests.engine.conftest import model_path

__all__ = ["model_path"]

"""The mount family of calls in a view that has a namespace of its own."""

from __future__ import annotations

from .service import Mounting as Mounting

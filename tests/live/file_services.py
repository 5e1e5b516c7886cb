"""File services for tests, by path: ``-p file_services.py:Scratch``."""

from __future__ import annotations

import os

from viewosd.service import Service
from viewosd.space import MountRequest


class Scratch(Service):
    """Mounts empty file systems, and what is elsewhere."""

    name = "scratch"
    mounts = ("scratch", "same")

    async def mount(self, request: MountRequest) -> int | None:
        if request.type == "scratch":
            return await request.space.create("tmpfs", [("mode", "755")])
        tree = request.open(request.source, os.O_PATH)
        try:
            return await request.space.clone(tree)
        finally:
            os.close(tree)

"""JSON files as directories: viewos-run -p examples/json_files.py; viewmount -t json FILE DIR"""

import json
import os

from viewosd import Service
from viewosd.generated import GeneratedTree
from viewosd.space import MountRequest


def content(value: object) -> object:
    """Objects and arrays are directories, all else is a file with a line."""
    if isinstance(value, list):
        value = {str(number): inner for number, inner in enumerate(value)}
    if isinstance(value, dict):
        return {name.replace("/", "|") or "_": content(inner) for name, inner in value.items()}
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="replace") + b"\n"


def load(fd: int) -> object:
    with open(f"/proc/self/fd/{fd}", "rb") as file:  # from its start, each time
        return json.load(file)


class Tree(GeneratedTree):
    def __init__(self, descriptors: list[int]) -> None:
        super().__init__(content(load(descriptors[0])))  # type: ignore[arg-type]


class JsonFiles(Service):
    """Mounts JSON files."""

    name, mounts = "json", ("json",)

    async def mount(self, request: MountRequest) -> int:
        fd = request.open(request.source, os.O_RDONLY)
        try:
            return await request.space.serve(f"{__name__}:Tree", {}, [fd], type="json")
        finally:
            os.close(fd)

"""Files that nobody wrote; inside viewos-run -p examples/ledger.py: mount -t ledger 2026 /mnt"""

from collections.abc import Iterator, Mapping, Sequence

from viewosd import Service
from viewosd.generated import GeneratedTree
from viewosd.space import MountRequest


class Months(Mapping[str, bytes]):
    """A directory with a file for each month; what is in it is made up when it is asked for."""

    def __init__(self, year: int) -> None:
        self.names = {f"{year}-{month:02}": month for month in range(1, 13)}

    def __getitem__(self, name: str) -> bytes:
        return f"{name}: {self.names[name] * 100} coins\n".encode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Year(GeneratedTree):
    def __init__(self, descriptors: Sequence[int], year: int) -> None:
        super().__init__({"months": Months(year), "total": f"{sum(range(13)) * 100}\n".encode()})


class Ledger(Service):
    """A year's accounts as files."""

    name = "ledger"
    mounts = ("ledger",)

    async def mount(self, request: MountRequest) -> int:
        arguments = {"year": int(request.source)}
        return await request.space.serve(f"{__name__}:Year", arguments, type="ledger")

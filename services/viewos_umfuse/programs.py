"""Which FUSE program serves a type, and what must be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        name: the executable.
        package: Debian's, that has it.
        image: its source is a file, which is locked while it is mounted.
        writes: it can write to it.
        always: options that it is given besides the user's.
        writable: options that make it write.
        readonly: options that make it not write.
        first: words in front of all others.
        foreground: how it is told to stay.
        everybody: it knows the option allow_other, and root's mount gets it.
        order: of its command line: %O options, %S source, %M mountpoint.
        owned: its files have owners; libfuse's uid= and gid= make them somebody else's.
        marks: (offset, bytes) of which an image has one, where the program does not look itself.
    """

    name: str
    package: str
    image: bool = True
    writes: bool = False
    always: tuple[str, ...] = ()
    writable: tuple[str, ...] = ("rw",)
    readonly: tuple[str, ...] = ("ro",)
    first: tuple[str, ...] = ()
    foreground: tuple[str, ...] = ("-f",)
    everybody: bool = True
    order: str = "%O %S %M"
    owned: bool = False
    marks: tuple[tuple[int, bytes], ...] = ()


PROGRAMS: Final = {
    # Without fakeroot it refuses what the image's modes forbid to the owner; the kernel checks.
    "umfuseext2": Program("fuse2fs", "fuse2fs", writes=True, always=("fakeroot",), owned=True),
    # All its files are root's; rw+ is its word for "I mean it".
    "umfusefat": Program(
        "fusefat",
        "fusefat",
        writes=True,
        writable=("rw+",),
        owned=True,
        marks=((54, b"FAT1"), (82, b"FAT32")),  # BS_FilSysType: Microsoft's fatgen103
    ),
    # Without -n it keeps a list of mounts in the home directory.
    "umfuseiso9660": Program("fuseiso", "fuseiso", first=("-n",), order="%S %M %O"),
    "umfusesquashfs": Program("squashfuse", "squashfuse"),
    # It has a libfuse of its own, and no -f. Unless silent it has no answer to access(2), which
    # chdir(2) asks for.
    "umfusentfs": Program(
        "ntfs-3g",
        "ntfs-3g",
        writes=True,
        always=("no_detach", "no_def_opts", "silent"),
        foreground=(),
    ),
    "umfusessh": Program("sshfs", "sshfs", image=False, writes=True),
}
"""Those whose names say what they serve. Packages as in Debian 12."""

ARCHIVE: Final = Program("archivemount", "archivemount", writes=True)
"""For archives that are to be written, and where ratarmountcore is not installed."""

PACKAGES: Final = {
    "archivemount": "archivemount",
    "bindfs": "bindfs",
    "exfat-fuse": "exfat-fuse",
    "fuse-overlayfs": "fuse-overlayfs",
    "fuse-zip": "fuse-zip",
    "mount.exfat-fuse": "exfat-fuse",
    "unionfs": "unionfs-fuse",
    **{program.name: program.package for program in PROGRAMS.values()},
}
"""Debian's packages by program, for the error that says what to install."""

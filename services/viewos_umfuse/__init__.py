"""umfuse: file systems in user space, as mounts of a view: existing FUSE programs, and our own.

``mount -t TYPE SOURCE DIRECTORY -o OPTION,...``; docs/umfuse.md is its manual. Types and options
are View-OS's where View-OS had them. It made libraries of FUSE programs; here they run as they are.

===========  ==============================================================================
service.py   the service: a mount request to a program or a tree
programs.py  which program serves a type, which package has it, how it is told to write
options.py   the options: what is ours, what is the program's
ram.py       umfuseram: a directory tree in memory
ramfile.py   umfuseramfile: one file in memory
real.py      umfusereal: a directory, passed through
archive.py   umfusearchive: archives and compressed files
===========  ==============================================================================
"""

from .service import UmFuse

__all__ = ["UmFuse"]

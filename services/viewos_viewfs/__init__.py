"""viewfs: hide, move, bind, protect and overlay parts of the file tree of a view.

``mount -t viewfs SOURCE DIRECTORY -o MODE[,OPTION]...``; docs/viewfs.md is its manual. The modes
and what they mean are View-OS's (viewfs, vufs) where View-OS had them; how they are done is not:
each ends in mounts of the kernel, so what is not changed costs nothing.

==============  ===========================================================================
service.py      the service: a mount request to the mode that makes it, what is remembered
options.py      what was asked for
plain.py        move, bind, ro, tmpfs
made.py         what a mode has made, until it is attached
reaching.py     descriptors of what mounts show
cow.py          cow, merge, mincow: which engine, what lies below, what shows through
choose.py       the decision which engine, pure
layerdir.py     the directory of a layer: found, made, locked, removed
overlay.py      the kernel's overlayfs
places.py       where a file can be reached: the mounts of a view as data, pure
hide.py         covers, over every place at which a file is seen
cover.py        the file system that is not there
hidden.py       the names that are hidden, pure
listing.py      a directory's listing without its hidden names
creating.py     what makes, moves and removes hidden names
making.py       what takes their place
layers/         what changed in a layer: diff, commit, discard
tree/           the overlay that is served by us, for what overlayfs can't do
==============  ===========================================================================
"""

from .service import ViewFs

__all__ = ["ViewFs"]

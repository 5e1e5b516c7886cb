"""net: network stacks of a view's own, several at once, as mounts of the view.

``mount -t umnetns none /dev/net/NAME``; docs/net.md is its manual. The types, the names below
``/dev/net`` and the protocol lists are View-OS's.

============  ==============================================================================
service.py    the service: what is mounted, and which stack a socket goes to
stacks.py     the stacks, by type
protocols.py  protocol lists: ``+ip,-ipv6,#16``
defaults.py   stacks of processes: mstack
asking.py     what commands ask
show.py       the program behind ``viewos net``
sysfs.py      /sys of a view that lives in a stack
============  ==============================================================================
"""

from .service import Net

__all__ = ["Net"]

"""The FUSE protocol of the kernel, and a server of file trees that speaks it.

`codec` is bytes to requests and values to bytes; `calls` asks the tree; `server` waits and talks to
the kernel; `mount` is what fsconfig(2) is to be told.
"""

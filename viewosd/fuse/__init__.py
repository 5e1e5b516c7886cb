"""The FUSE protocol of the kernel, and a server of file trees that speaks it."""

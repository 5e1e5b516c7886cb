"""The Linux ABI as data: structures, constants and system call numbers, each with its source.

Follows Linux 6.18 and says on newer things which release brought them. Nothing here does I/O.
"""

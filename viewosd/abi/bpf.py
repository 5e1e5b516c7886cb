"""Classic BPF, the language of seccomp filters: opcodes and the instruction.

Source: include/uapi/linux/bpf_common.h, include/uapi/linux/filter.h; prose:
Documentation/networking/filter.rst. What a seccomp filter may use of it:
kernel/seccomp.c:seccomp_check_filter().
"""

from __future__ import annotations

from typing import Annotated, Final

from .layout import Struct, u8, u16, u32, u64

# fmt: off
# Instruction classes
BPF_LD:   Final = 0x00
BPF_LDX:  Final = 0x01
BPF_ST:   Final = 0x02
BPF_STX:  Final = 0x03
BPF_ALU:  Final = 0x04
BPF_JMP:  Final = 0x05
BPF_RET:  Final = 0x06
BPF_MISC: Final = 0x07

# Operand size of a load; seccomp allows words only
BPF_W:    Final = 0x00
BPF_H:    Final = 0x08
BPF_B:    Final = 0x10

# Addressing
BPF_IMM:  Final = 0x00
BPF_ABS:  Final = 0x20
BPF_IND:  Final = 0x40
BPF_MEM:  Final = 0x60
BPF_LEN:  Final = 0x80
BPF_MSH:  Final = 0xA0

# Arithmetic and jumps
BPF_ADD:  Final = 0x00
BPF_SUB:  Final = 0x10
BPF_MUL:  Final = 0x20
BPF_DIV:  Final = 0x30
BPF_OR:   Final = 0x40
BPF_AND:  Final = 0x50
BPF_LSH:  Final = 0x60
BPF_RSH:  Final = 0x70
BPF_NEG:  Final = 0x80
BPF_MOD:  Final = 0x90
BPF_XOR:  Final = 0xA0
BPF_JA:   Final = 0x00
BPF_JEQ:  Final = 0x10
BPF_JGT:  Final = 0x20
BPF_JGE:  Final = 0x30
BPF_JSET: Final = 0x40

# Second operand
BPF_K:    Final = 0x00
BPF_X:    Final = 0x08
BPF_A:    Final = 0x10  # of BPF_RET: return the accumulator

# Register moves of BPF_MISC
BPF_TAX:  Final = 0x00
BPF_TXA:  Final = 0x80

BPF_MAXINSNS: Final = 4096
"""Most instructions of one program (EINVAL beyond)."""

MAX_INSNS_PER_PATH: Final = (1 << 18) // 8  # sizeof(struct sock_filter)
"""Most instructions of all filters of a task together, each filter counting 4 more (ENOMEM beyond).

Source: kernel/seccomp.c, MAX_INSNS_PER_PATH and seccomp_attach_filter().
"""
# fmt: on


class sock_filter(Struct, size=8):
    """One instruction."""

    code: u16
    jt: u8  # instructions to skip when the comparison holds
    jf: u8  # and when it does not
    k: u32


class compat_sock_fprog(Struct, size=8, packed=True):
    """`sock_fprog` of a 32-bit program. Source: net/compat.h."""

    len: Annotated[int, "H2x"]
    filter: u32


class sock_fprog(Struct, size=16):
    """A program, as seccomp(2) and SO_ATTACH_FILTER take it."""

    compat = compat_sock_fprog

    len: u16  # instructions, not bytes
    filter: u64  # address of the first sock_filter

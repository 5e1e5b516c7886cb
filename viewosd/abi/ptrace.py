"""Looking at a stopped thread and steering it: what `Rewrite` is made of.

Source: include/uapi/linux/ptrace.h, arch/x86/include/asm/user_64.h,
arch/arm64/include/uapi/asm/ptrace.h, include/uapi/linux/elf.h; ptrace(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from .arch import NATIVE, Arch
from .layout import Struct, s64, u16, u32, u64

# fmt: off
PTRACE_TRACEME:              Final = 0
PTRACE_PEEKTEXT:             Final = 1
PTRACE_PEEKDATA:             Final = 2
PTRACE_PEEKUSR:              Final = 3
PTRACE_POKETEXT:             Final = 4
PTRACE_POKEDATA:             Final = 5
PTRACE_POKEUSR:              Final = 6
PTRACE_CONT:                 Final = 7
PTRACE_KILL:                 Final = 8
PTRACE_SINGLESTEP:           Final = 9
PTRACE_GETREGS:              Final = 12  # x86 only
PTRACE_SETREGS:              Final = 13  # x86 only
PTRACE_ATTACH:               Final = 16
PTRACE_DETACH:               Final = 17
PTRACE_SYSCALL:              Final = 24
PTRACE_SETOPTIONS:           Final = 0x4200
PTRACE_GETEVENTMSG:          Final = 0x4201
PTRACE_GETSIGINFO:           Final = 0x4202
PTRACE_SETSIGINFO:           Final = 0x4203
PTRACE_GETREGSET:            Final = 0x4204
PTRACE_SETREGSET:            Final = 0x4205
PTRACE_SEIZE:                Final = 0x4206
PTRACE_INTERRUPT:            Final = 0x4207
PTRACE_LISTEN:               Final = 0x4208
PTRACE_PEEKSIGINFO:          Final = 0x4209
PTRACE_GETSIGMASK:           Final = 0x420A
PTRACE_SETSIGMASK:           Final = 0x420B
PTRACE_SECCOMP_GET_FILTER:   Final = 0x420C
PTRACE_SECCOMP_GET_METADATA: Final = 0x420D
PTRACE_GET_SYSCALL_INFO:     Final = 0x420E  # 5.3
PTRACE_GET_RSEQ_CONFIGURATION:         Final = 0x420F  # 5.13
PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG: Final = 0x4210  # 6.4
PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: Final = 0x4211  # 6.4
PTRACE_SET_SYSCALL_INFO:     Final = 0x4212  # 6.16

PTRACE_EVENT_FORK:       Final = 1
PTRACE_EVENT_VFORK:      Final = 2
PTRACE_EVENT_CLONE:      Final = 3
PTRACE_EVENT_EXEC:       Final = 4
PTRACE_EVENT_VFORK_DONE: Final = 5
PTRACE_EVENT_EXIT:       Final = 6
PTRACE_EVENT_SECCOMP:    Final = 7
PTRACE_EVENT_STOP:       Final = 128  # of PTRACE_SEIZE

PTRACE_O_TRACESYSGOOD:    Final = 1
PTRACE_O_TRACEFORK:       Final = 1 << PTRACE_EVENT_FORK
PTRACE_O_TRACEVFORK:      Final = 1 << PTRACE_EVENT_VFORK
PTRACE_O_TRACECLONE:      Final = 1 << PTRACE_EVENT_CLONE
PTRACE_O_TRACEEXEC:       Final = 1 << PTRACE_EVENT_EXEC
PTRACE_O_TRACEVFORKDONE:  Final = 1 << PTRACE_EVENT_VFORK_DONE
PTRACE_O_TRACEEXIT:       Final = 1 << PTRACE_EVENT_EXIT
PTRACE_O_TRACESECCOMP:    Final = 1 << PTRACE_EVENT_SECCOMP
PTRACE_O_EXITKILL:        Final = 1 << 20
PTRACE_O_SUSPEND_SECCOMP: Final = 1 << 21

PTRACE_SYSCALL_INFO_NONE:    Final = 0
PTRACE_SYSCALL_INFO_ENTRY:   Final = 1
PTRACE_SYSCALL_INFO_EXIT:    Final = 2
PTRACE_SYSCALL_INFO_SECCOMP: Final = 3

NT_PRSTATUS:        Final = 1  # PTRACE_GETREGSET: the general registers
NT_ARM_SYSTEM_CALL: Final = 0x404  # arm64: the number of the call, alone
# fmt: on


class user_regs_struct(Struct, size=216):
    """NT_PRSTATUS of x86_64, also of an i386 program when a 64-bit tracer asks."""

    r15: u64
    r14: u64
    r13: u64
    r12: u64
    bp: u64
    bx: u64
    r11: u64
    r10: u64
    r9: u64
    r8: u64
    ax: u64
    cx: u64
    dx: u64
    si: u64
    di: u64
    orig_ax: u64  # the number of the call; -1: none, nothing to restart
    ip: u64
    cs: u64  # 0x33: 64-bit code, 0x23: 32-bit
    flags: u64
    sp: u64
    ss: u64
    fs_base: u64
    gs_base: u64
    ds: u64
    es: u64
    fs: u64
    gs: u64


class user_regs_struct32(Struct, size=68, packed=True):
    """NT_PRSTATUS of an i386 program: PTRACE_GETREGSET gives this one, by its length.

    Source: arch/x86/include/asm/user32.h; arch/x86/kernel/ptrace.c:task_user_regset_view().
    """

    ebx: u32
    ecx: u32
    edx: u32
    esi: u32
    edi: u32
    ebp: u32
    eax: u32
    ds: u32
    es: u32
    fs: u32
    gs: u32
    orig_eax: u32
    eip: u32
    cs: u32
    eflags: u32
    esp: u32
    ss: u32


class user_pt_regs(Struct, size=272):
    """NT_PRSTATUS of aarch64: ``__u64 regs[31]`` is flattened. x0 to x5 are the arguments, x8 is
    the number of the call, which only NT_ARM_SYSTEM_CALL changes once the call is entered."""

    x0: u64
    x1: u64
    x2: u64
    x3: u64
    x4: u64
    x5: u64
    x6: u64
    x7: u64
    x8: u64
    x9: u64
    x10: u64
    x11: u64
    x12: u64
    x13: u64
    x14: u64
    x15: u64
    x16: u64
    x17: u64
    x18: u64
    x19: u64
    x20: u64
    x21: u64
    x22: u64
    x23: u64
    x24: u64
    x25: u64
    x26: u64
    x27: u64
    x28: u64
    x29: u64
    x30: u64
    sp: u64
    pc: u64
    pstate: u64


if TYPE_CHECKING or NATIVE is Arch.X86_64:  # noqa: SIM108  (a type checker reads this form)
    native_regs = user_regs_struct
else:
    native_regs = user_pt_regs


class ptrace_syscall_info_entry(Struct, size=88):
    """PTRACE_GET_SYSCALL_INFO at PTRACE_SYSCALL_INFO_ENTRY or _SECCOMP.

    The structure is a union; this is its longest form. ``ret_data`` counts for _SECCOMP only.
    """

    op: Annotated[int, "Bx"]
    flags: u16
    arch: u32
    instruction_pointer: u64
    stack_pointer: u64
    nr: u64
    arg0: u64
    arg1: u64
    arg2: u64
    arg3: u64
    arg4: u64
    arg5: u64
    ret_data: u32


class ptrace_syscall_info_exit(Struct, size=88, packed=True):
    """PTRACE_GET_SYSCALL_INFO at PTRACE_SYSCALL_INFO_EXIT."""

    op: Annotated[int, "Bx"]
    flags: u16
    arch: u32
    instruction_pointer: u64
    stack_pointer: u64
    rval: s64
    is_error: Annotated[int, "B55x"]

"""System V IPC, POSIX message queues, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Buffer, CStr, Fd, Flags, In, Int, Long, Mode, Ptr, Size, UInt, ULong

if TYPE_CHECKING:
    from ..abi.time import timespec, timespec64


class ipc(Syscall):
    """i386's one door to System V IPC (ipc/syscall.c): ``call`` & 0xFFFF is the sub-call."""

    call: UInt
    first: Int
    second: ULong
    third: ULong
    ptr: Ptr
    fifth: Long


class semget(Syscall):
    key: Int
    nsems: Int
    semflg: Flags


class semctl(Syscall):
    semid: Int
    semnum: Int
    cmd: Int
    arg: ULong


class semop(Syscall):
    semid: Int
    tsops: Ptr
    nsops: UInt


class semtimedop(Syscall):
    semid: Int
    tsops: Ptr
    nsops: UInt
    timeout: In[timespec]


class semtimedop_time64(Syscall):
    semid: Int
    tsops: Ptr
    nsops: UInt
    timeout: In[timespec64]


class shmget(Syscall):
    key: Int
    size: Size
    shmflg: Flags


class shmctl(Syscall):
    shmid: Int
    cmd: Int
    buf: Ptr


class shmat(Syscall):
    shmid: Int
    shmaddr: Ptr
    shmflg: Flags


class shmdt(Syscall):
    shmaddr: Ptr


class msgget(Syscall):
    key: Int
    msgflg: Flags


class msgctl(Syscall):
    msqid: Int
    cmd: Int
    buf: Ptr


class msgsnd(Syscall):
    msqid: Int
    msgp: Ptr
    msgsz: Size
    msgflg: Flags


class msgrcv(Syscall):
    msqid: Int
    msgp: Ptr
    msgsz: Size
    msgtyp: Long
    msgflg: Flags


class mq_open(Syscall):
    name: CStr  # without its slash
    oflag: Flags
    mode: Mode
    attr: Ptr


class mq_unlink(Syscall):
    name: CStr


class MqSend(Syscall, family=True):
    """mq_send(3): mq_timedsend and i386's mq_timedsend_time64."""

    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: UInt


class mq_timedsend(MqSend):
    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: UInt
    abs_timeout: In[timespec]


class mq_timedsend_time64(MqSend):
    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: UInt
    abs_timeout: In[timespec64]


class MqReceive(Syscall, family=True):
    """mq_receive(3): mq_timedreceive and i386's mq_timedreceive_time64."""

    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: Ptr


class mq_timedreceive(MqReceive):
    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: Ptr
    abs_timeout: In[timespec]


class mq_timedreceive_time64(MqReceive):
    mqdes: Fd
    msg_ptr: Buffer
    msg_len: Size
    msg_prio: Ptr
    abs_timeout: In[timespec64]


class mq_notify(Syscall):
    mqdes: Fd
    notification: Ptr


class mq_getsetattr(Syscall):
    mqdes: Fd
    mqstat: Ptr
    omqstat: Ptr


class add_key(Syscall):
    type: CStr
    description: CStr
    payload: Buffer
    plen: Size
    ringid: Int


class request_key(Syscall):
    type: CStr
    description: CStr
    callout_info: CStr
    destringid: Int


class keyctl(Syscall):
    option: Int
    arg2: ULong
    arg3: ULong
    arg4: ULong
    arg5: ULong

"""i386's ipc(2), taken apart: what hooks see, and where their results go."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any

from helpers.programs import program as program
from helpers.rig import rig, serve
from viewosd.abi.time import timespec
from viewosd.service import Service
from viewosd.syscalls import IPC, Syscall, semget, semtimedop, shmat
from viewosd.verdict import Return, Rewrite

IPC_RMID, SETVAL = 0, 16
SHMAT_AT = 0x7654_3000


def _services(answer: Callable[[Any, Any], Any]) -> list[Service]:
    return [serve(call, answer, name=call.__name__) for call in IPC.values()]


async def _lines(program: Any, answer: Callable[[Any, Any], Any]) -> list[str]:
    async with rig(*_services(answer)) as view:
        return (await view.run([program("sysvipc", "-m32")]).text()).splitlines()


async def test_each_sub_call_of_ipc_is_the_call_that_it_means(program: Any) -> None:
    seen: list[str] = []

    def answer(call: Syscall, tracee: Any) -> Return:
        shown = repr(call)
        if isinstance(call, semtimedop):
            limit = tracee.read_struct(call.timeout, timespec)
            shown += f" {limit.tv_sec} {limit.tv_nsec}"
        seen.append(shown)
        return Return(SHMAT_AT if shown.startswith("shmat") else 7)

    lines = await _lines(program, answer)
    assert dict(line.split(": ") for line in lines) == {
        **dict.fromkeys((call.__name__ for call in IPC.values()), "7"),
        "semctl of nothing": "EINVAL",
        "old msgrcv": "7",
        "msgrcv of a bad pointer": "EFAULT",
        "shmat": "0",
        "it is at": f"{SHMAT_AT:x}",
        "shmat to a bad pointer": "EFAULT",
        "shmat of the wrong edition": "EINVAL",
        "no such sub-call": "ENOSYS",
        "its own number": "7",
    }
    fields = [dict(re.findall(r"(\w+)=(-?\d+)", one)) for one in seen]
    by_name = {one.split("(")[0]: f for one, f in zip(seen, fields, strict=True)}
    assert by_name["semop"] | {"tsops": ""} == {"semid": "41", "tsops": "", "nsops": "1"}
    assert by_name["semget"] == {"key": str(0x1234), "nsems": "5", "semflg": str(0o600)}
    assert by_name["semctl"] == {"semid": "41", "semnum": "2", "cmd": str(SETVAL), "arg": "99"}
    assert next(one for one in seen if one.startswith("semtimedop")).endswith(" 7 8")
    assert by_name["msgsnd"] | {"msgp": ""} == {
        "msqid": "51", "msgp": "", "msgsz": "6", "msgflg": str(0o4000)
    }  # fmt: skip
    both = [f for one, f in zip(seen, fields, strict=True) if one.startswith("msgrcv")]
    assert both[0] == both[1]
    assert both[0] | {"msgp": ""} == {
        "msqid": "51", "msgp": "", "msgsz": "8", "msgtyp": "-2", "msgflg": str(0o10000)
    }  # fmt: skip
    assert by_name["msgget"] == {"key": str(0x4321), "msgflg": str(0o600)}
    assert by_name["msgctl"] == {"msqid": "51", "cmd": str(IPC_RMID), "buf": "0"}
    assert by_name["shmat"] == {"shmid": "61", "shmaddr": str(0x7000_0000), "shmflg": str(0o10000)}
    assert by_name["shmdt"] == {"shmaddr": str(0x7000_0000)}
    assert by_name["shmget"] == {"key": str(0x777), "size": "4096", "shmflg": str(0o600)}
    assert by_name["shmctl"] == {"shmid": "61", "cmd": str(IPC_RMID), "buf": "0"}


async def test_what_is_inside_is_rewritten_to_the_call_of_its_own_number(program: Any) -> None:
    """But for shmat: its result would go where ipc(2) does not put it."""

    def answer(call: Syscall, tracee: Any) -> Return | Rewrite:
        if isinstance(call, semget):
            return Rewrite(call.replace(key=0x5555, nsems=0, semflg=0))
        return Rewrite(call, errno.ENOLCK) if isinstance(call, shmat) else Return(7)

    lines = await _lines(program, answer)
    assert "semget: ENOENT" in lines
    assert "shmat: ENOLCK" in lines
    assert "it is at: 0" in lines

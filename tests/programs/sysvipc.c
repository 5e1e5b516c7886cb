/* Ask for System V IPC through ipc(2), as a 32-bit program, and print what came back. Build: -m32.
   usage: sysvipc */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IPC_64 0x100
#define ask(what, ...) show(what, syscall(SYS_ipc, __VA_ARGS__, 0))

static void show(const char *what, long result)
{
	if (result == -1)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %lx\n", what, result);
}

int main(void)
{
	struct sembuf buf = { 3, -1, 0 };
	long limit[] = { 7, 8 }; /* struct old_timespec32 */
	struct { long type; char text[8]; } message = { 5, "hello" };
	struct { void *msgp; long msgtyp; } kludge = { &message, -2 }; /* struct ipc_kludge */
	long value = 99, address = 0;

	ask("semop", 1, 41, 1, 0, &buf);
	ask("semget", 2, 0x1234, 5, 0600, 0);
	ask("semctl", 3, 41, 2, SETVAL | IPC_64, &value);
	ask("semctl of nothing", 3, 41, 2, SETVAL | IPC_64, 0);
	ask("semtimedop", 4, 41, 1, 0, &buf, limit);
	ask("msgsnd", 11, 51, 6, IPC_NOWAIT, &message);
	ask("msgrcv", 1 << 16 | 12, 51, 8, MSG_NOERROR, &message, -2);
	ask("old msgrcv", 12, 51, 8, MSG_NOERROR, &kludge);
	ask("msgrcv of a bad pointer", 12, 51, 8, MSG_NOERROR, 16);
	ask("msgget", 13, 0x4321, 0600, 0, 0);
	ask("msgctl", 14, 51, IPC_RMID | IPC_64, 0, 0);
	ask("shmat", 21, 61, SHM_RDONLY, &address, 0x70000000);
	show("it is at", address);
	ask("shmat to a bad pointer", 21, 61, SHM_RDONLY, 16, 0x70000000);
	ask("shmat of the wrong edition", 1 << 16 | 21, 61, 0, &address, 0);
	ask("shmdt", 22, 0, 0, 0, 0x70000000);
	ask("shmget", 23, 0x777, 4096, 0600, 0);
	ask("shmctl", 24, 61, IPC_RMID | IPC_64, 0, 0);
	ask("no such sub-call", 99, 1, 2, 3, 4);
	show("its own number", syscall(SYS_semget, 0x1234, 5, 0600));
	return 0;
}

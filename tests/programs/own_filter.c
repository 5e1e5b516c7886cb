/* Install a seccomp filter of one's own, and show that it works.
   usage: own_filter plain|listener|below PROGRAM ARGUMENT...
   plain: getpriority(2) fails with EBADR from now on, below PROGRAM too.
   listener: the same with a listener that a child answers: getpriority returns 7.
   below: with a listener for a call that nobody makes, which stays open while PROGRAM runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int install(int number, unsigned action, int flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void answer(int listener)
{
	struct seccomp_notif asked;
	struct seccomp_notif_resp answer;
	memset(&asked, 0, sizeof asked);
	memset(&answer, 0, sizeof answer);
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
		_exit(1);
	answer.id = asked.id;
	answer.val = 7;
	_exit(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) ? 2 : 0);
}

int main(int argc, char **argv)
{
	int status, listener;
	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(argv[1], "plain")) {
		if (install(SYS_getpriority, SECCOMP_RET_ERRNO | EBADR, 0) < 0)
			return printf("not installed: %m\n"), 1;
		errno = 0;
		long result = syscall(SYS_getpriority, PRIO_PROCESS, 0);
		printf("getpriority: %ld, %m\n", result);
	} else {
		int below = !strcmp(argv[1], "below");
		listener = install(below ? SYS_acct : SYS_getpriority, SECCOMP_RET_USER_NOTIF,
				   SECCOMP_FILTER_FLAG_NEW_LISTENER);
		if (listener < 0)
			return printf("no listener: %m\n"), 1;
		if (below && fork() > 0) {
			/* The child goes on to PROGRAM; the listener is ours. */
			wait(&status);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
		} else if (!below) {
			if (fork() == 0)
				answer(listener);
			printf("getpriority: %ld\n", syscall(SYS_getpriority, PRIO_PROCESS, 0));
			wait(&status);
			printf("answered: %d\n", status);
		}
	}
	if (argc > 2) {
		execvp(argv[2], argv + 2);
		return printf("exec: %m\n"), 127;
	}
	return 0;
}

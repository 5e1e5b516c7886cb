/* Run a program where some system calls fail, as on other kernels, under Yama, or in containers.
   usage: without ERRNO NUMBER[,NUMBER]... PROGRAM ARGUMENT... */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 16 };

int main(int argc, char **argv)
{
	struct sock_filter code[2 * MOST + 2];
	int n = 0;
	if (argc < 4)
		return fputs("usage: without ERRNO NUMBER[,NUMBER]... PROGRAM\n", stderr), 99;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (char *at = argv[2]; *at && n < 2 * MOST; at += *at == ',') {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, strtoul(at, &at, 10), 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(argv[1]));
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { n, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		return perror("seccomp"), 99;
	execvp(argv[3], argv + 3);
	return perror("exec"), 98;
}

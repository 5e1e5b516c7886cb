/* The limit: the least that a supervisor of seccomp notifications can do, in C, with one thread.
 * It knows one system call and gives one answer, and keeps nothing: what it takes for a call, the
 * kernel takes. Every figure of ours is read as a multiple of this one.
 *
 * usage: limit [-s] MODE PROG [ARG]...
 *
 *   -s             be in a session of its own, as a view's supervisor must: where the kernel groups
 *                  tasks by session (sched_autogroup) that alone takes microseconds a call
 *
 *   return         getppid(2) returns 42
 *   path-continue  openat(2): its path is read and compared with one prefix, the call goes on
 *   list-continue  getdents64(2) goes on, whatever directory it is of
 *   open-inject    openat(2): its path is read; what it opens is opened here and given to PROG
 *
 * Exit status: PROG's, 128+n for signal n; 125 when this program itself failed.
 * Source: seccomp_unotify(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6, newer than some <linux/seccomp.h> */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

#define NOBODYS "/nowhere"

enum mode { RETURN, LIST_CONTINUE, PATH_CONTINUE, OPEN_INJECT, MODES };

static const unsigned int asked[] = { SYS_getppid, SYS_getdents64, SYS_openat, SYS_openat };

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(125);
}

/* SIGCHLD: PROG has ended, whatever the loop was doing. */
static void ended(int signo)
{
	int status;

	(void)signo;
	waitpid(-1, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int install_filter(unsigned int nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("PR_SET_NO_NEW_PRIVS");
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* Start PROG under the filter; the listener. Until it execs, the child shares our descriptors, so
 * the listener it makes is ours at once. It is close-on-exec: PROG does not have it. */
static int start(char **argv, unsigned int nr)
{
	int pipefd[2], listener;

	if (pipe2(pipefd, O_CLOEXEC))
		die("pipe2");
	switch (syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)) {
	case -1:
		die("clone");
	case 0:
		listener = install_filter(nr);
		if (write(pipefd[1], &listener, sizeof listener) < 0 || listener < 0)
			die("seccomp");
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (read(pipefd[0], &listener, sizeof listener) != sizeof listener)
		die("read");
	return listener;
}

static int read_path(pid_t tid, __u64 address, char *path, size_t size)
{
	struct iovec here = { path, size - 1 }, there = { (void *)(size_t)address, size - 1 };
	ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);

	path[got > 0 ? got : 0] = 0;
	return got > 0;
}

/* Open on behalf. ADDFD with SEND installs the descriptor and ends the call in one go. */
static int inject(int listener, __u64 cookie, const char *path)
{
	struct seccomp_notif_addfd request = { .id = cookie, .flags = SECCOMP_ADDFD_FLAG_SEND };
	int fd, done;

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &cookie))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	request.srcfd = fd;
	request.newfd_flags = O_CLOEXEC;
	done = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0;
	close(fd);
	return done;
}

static void serve(int listener, enum mode mode)
{
	char path[256]; /* a longer one is a matter of a second read, and not of this limit */

	for (;;) {
		struct seccomp_notif call;
		struct seccomp_notif_resp answer;

		memset(&call, 0, sizeof call);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			if (errno == ENOTCONN) { /* Linux 6.11: the last task is gone */
				pause();
				continue;
			}
			die("RECV");
		}
		memset(&answer, 0, sizeof answer);
		answer.id = call.id;
		if (mode == RETURN) {
			answer.val = 42;
		} else if (mode == LIST_CONTINUE) {
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		} else {
			int readable = read_path(call.pid, call.data.args[1], path, sizeof path);

			if (mode == OPEN_INJECT && readable && inject(listener, call.id, path))
				continue;
			if (readable && !strncmp(path, NOBODYS, sizeof NOBODYS - 1))
				answer.error = -ENOENT;
			else
				answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT)
			die("SEND");
	}
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "return", "list-continue", "path-continue", "open-inject" };
	struct sigaction action = { .sa_handler = ended, .sa_flags = SA_NOCLDSTOP };
	int listener, mode = 0, apart = argc > 1 && !strcmp(argv[1], "-s");

	argc -= apart;
	argv += apart;
	while (argc > 2 && mode < MODES && strcmp(argv[1], names[mode]))
		mode++;
	if (argc < 3 || mode == MODES) {
		fputs("usage: limit [-s] return|list-continue|path-continue|open-inject PROG [ARG]...\n", stderr);
		return 125;
	}
	sigaction(SIGCHLD, &action, NULL);
	listener = start(argv + 2, asked[mode]);
	if (apart && setsid() < 0)
		die("setsid");
	/* By value. Linux < 6.6 lacks it; then the limit is slower, and ours too. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	serve(listener, mode);
}

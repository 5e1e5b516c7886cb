/* Threads that make calls, and fork, while signals with a handler without SA_RESTART hit them.
   usage: storm THREADS ROUNDS
   A call that a supervisor stops may end with EINTR before it is received, whatever call it is
   (kernel/seccomp.c, seccomp_do_user_notification): those are made again here, as robust programs
   do. Calls that are never stopped must not fail. Prints what failed, and "done". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static volatile int over;
static int rounds;

static void handler(int number)
{
	(void)number;
	caught++;
}

#define AGAIN(result, call)				\
	do						\
		result = (call);			\
	while (result < 0 && errno == EINTR)

static void fail(const char *what)
{
	char line[128];
	int length = snprintf(line, sizeof line, "%s: %s\n", what, strerrorname_np(errno));
	if (write(1, line, length) != length)
		_exit(9);
}

static void *work(void *unused)
{
	struct stat info;
	struct utsname names;
	for (int i = 0; i < rounds; i++) {
		int fd, result, pipes[2];
		AGAIN(fd, open("/etc/passwd", O_RDONLY | O_CLOEXEC));
		if (fd < 0)
			fail("open");
		AGAIN(result, fstat(fd, &info));
		if (result)
			fail("fstat");
		int copy = dup(fd);
		if (copy < 0)
			fail("dup");
		if (close(copy) || close(fd))
			fail("close");
		AGAIN(result, stat("/etc/group", &info));
		if (result)
			fail("stat");
		AGAIN(result, uname(&names));
		if (result)
			fail("uname");
		AGAIN(result, pipe(pipes));
		if (result)
			fail("pipe");
		else if (close(pipes[0]) || close(pipes[1]))
			fail("close of a pipe");
		if (i % 16 == 0) {
			pid_t child = fork();
			if (child == 0) {
				AGAIN(result, uname(&names));
				_exit(result ? 1 : 42);
			}
			if (child < 0) {
				fail("fork");
				continue;
			}
			int status;
			AGAIN(result, waitpid(child, &status, 0));
			if (result != child || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
				fail("child");
		}
	}
	return unused;
}

static void *pelt(void *unused)
{
	/* Blocked here, so they hit the others. */
	while (!over) {
		kill(getpid(), SIGALRM);
		usleep(300);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[64], pelter;
	int count = argc > 1 ? atoi(argv[1]) : 4;
	rounds = argc > 2 ? atoi(argv[2]) : 200;
	struct sigaction action = { .sa_handler = handler };
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGCHLD, &action, NULL);
	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_create(&pelter, NULL, pelt, NULL);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	over = 1;
	pthread_join(pelter, NULL);
	puts(caught ? "done" : "no signal came");
	return 0;
}

/* What is measured: a program that does nothing but one system call. Linked statically, so that
 * the loader makes no trapped call of its own.
 *
 * usage: tracee CALL TIMES [threads|processes WORKERS]   nanoseconds a call, TIMES calls in all
 *        tracee CALL TIMES churn THREADS    THREADS threads, 16 at a time, each TIMES calls
 *        tracee CALL TIMES crowd PROCESSES  all alive at once, then each TIMES calls
 *        tracee run PROG [ARG]...           nanoseconds that PROG took
 *        tracee CALL 0                      calls until it is killed
 *
 * CALL: getppid, or open (openat of /etc/passwd, read-only, and close).
 * The figure goes to stdout, one line. A call that fails ends it with exit status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 16

static void (*call)(void);
static long times;

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(1);
}

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void call_getppid(void)
{
	if (syscall(SYS_getppid) < 0)
		die("getppid");
}

static void call_open(void)
{
	int fd = syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		die("openat");
	close(fd);
}

static void loop(long n)
{
	for (long i = 0; i < n; i++)
		call();
}

static void *thread(void *n)
{
	loop((long)n);
	return NULL;
}

static void threads(int workers, long each)
{
	pthread_t ids[workers];
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 * 1024);
	for (int i = 0; i < workers; i++)
		if (pthread_create(&ids[i], &small, thread, (void *)each))
			die("pthread_create");
	for (int i = 0; i < workers; i++)
		pthread_join(ids[i], NULL);
}

static void churn(int total)
{
	for (int done = 0; done < total; done += AT_ONCE)
		threads(total - done < AT_ONCE ? total - done : AT_ONCE, times);
}

/* Nobody calls before everybody lives. */
static void processes(int workers, long each)
{
	int gate[2], status, failed = 0;
	char go;

	if (pipe(gate))
		die("pipe");
	for (int i = 0; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid) {
			close(gate[1]);
			if (read(gate[0], &go, 1) < 0)
				die("read");
			loop(each);
			_exit(0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		_exit(1);
}

static void run(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		die(argv[0]);
	if (status) {
		fprintf(stderr, "%s: wait status %#x\n", argv[0], status);
		_exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *how = argc > 4 ? argv[3] : "threads";
	int workers = argc > 4 ? atoi(argv[4]) : 0;
	long long start, took;

	if (argc < 3 || workers < 0) {
		fputs("usage: tracee getppid|open TIMES [threads|processes|churn|crowd N] | run PROG\n",
		      stderr);
		return 2;
	}
	call = strcmp(argv[1], "open") ? call_getppid : call_open;
	times = atol(argv[2]);
	start = now_ns();
	if (!strcmp(argv[1], "run")) {
		run(argv + 2);
		times = 1;
	} else if (!times) {
		for (;;)
			call();
	} else if (!workers) {
		loop(times);
	} else if (!strcmp(how, "churn")) {
		churn(workers);
		times *= workers;
	} else if (!strcmp(how, "crowd")) {
		processes(workers, times);
		times *= workers;
	} else if (!strcmp(how, "processes")) {
		processes(workers, times / workers);
	} else {
		threads(workers, times / workers);
	}
	took = now_ns() - start;
	printf("%.1f\n", (double)took / times);
	return 0;
}

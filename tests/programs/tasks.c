/* Threads with a working directory or a table of descriptors of their own, vfork, ETXTBSY.
   usage: tasks cwd | files | vfork | busy EXECUTABLE */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 40

static long right;
static int rounds_of(long n, int own_table)
{
	char name[32], text[32] = "";
	struct stat s;
	int i, fd, good = 0;

	if (own_table ? unshare(CLONE_FILES) : unshare(CLONE_FS))
		exit(9);
	sprintf(name, "t%ld", n);
	if (!own_table) {
		mkdir(name, 0700);
		if (chdir(name))
			exit(8);
	}
	for (i = 0; i < ROUNDS; i++) {
		sprintf(text, "%ld %d", n, i);
		if ((fd = open(own_table ? name : "mine", O_CREAT | O_RDWR | O_TRUNC, 0600)) < 0)
			exit(7);
		write(fd, text, strlen(text));
		/* Each has the same small numbers for other files. */
		if (!fstat(fd, &s) && s.st_size == (long)strlen(text) && pread(fd, name + 16, 15, 0) > 0 &&
		    !strncmp(name + 16, text, strlen(text)))
			good++;
		close(fd);
		if (!own_table && (rename("mine", "moved") || stat("../t0", &s) || unlink("moved")))
			exit(6);
	}
	return good;
}

static void *cwd(void *n) { __atomic_add_fetch(&right, rounds_of((long)n, 0), 5); return 0; }
static void *files(void *n) { __atomic_add_fetch(&right, rounds_of((long)n, 1), 5); return 0; }

static void threads(void *(*what)(void *))
{
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], 0, what, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], 0);
	printf("%ld of %d\n", right, THREADS * ROUNDS);
}

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "cwd")) {
		mkdir("t0", 0700);
		threads(cwd);
	} else if (!strcmp(argv[1], "files"))
		threads(files);
	else if (!strcmp(argv[1], "vfork")) {
		for (int i = 0; i < 50; i++) {
			volatile int fd = -1;
			int status;
			struct stat s;
			pid_t pid = vfork();
			if (!pid) {
				/* A call before exec, while the parent waits with the same memory. */
				fd = open("made", O_CREAT | O_RDWR, 0600);
				stat("made", &s);
				if (i % 2)
					_exit(s.st_nlink);
				execl("/bin/sh", "sh", "-c", "exit 3", (char *)0);
				_exit(99);
			}
			waitpid(pid, &status, 0);
			if (WEXITSTATUS(status) != (i % 2 ? 1 : 3) || fd < 0)
				printf("round %d: %x %d\n", i, status, fd);
			unlink("made");
		}
		puts("done");
	} else {
		/* Make an executable, as a linker does, and run it at once: nobody else may hold it. */
		static char code[1 << 20];
		int in = open(argv[2], O_RDONLY), size = read(in, code, sizeof code), i, status, bad = 0;
		for (i = 0; i < 100; i++) {
			int out = open("program", O_CREAT | O_TRUNC | O_RDWR, 0755);
			write(out, code, size);
			if (i == 0 && !fork()) {
				execl("./program", "program", (char *)0);
				printf("while it is written: %s\n", strerrorname_np(errno));
				fflush(stdout);
				_exit(0);
			}
			if (i == 0)
				wait(0);
			close(out);
			if (!fork()) {
				close(1);
				execl("./program", "program", (char *)0);
				_exit(errno);
			}
			wait(&status);
			bad += status != 0;
		}
		printf("%d failed\n", bad);
	}
	return 0;
}

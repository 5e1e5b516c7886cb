/* Does one thing with a file over and over, and prints the nanoseconds that one takes.
 *
 *   files stat|open|read|list PATH TIMES
 *
 * list: opens, reads and closes a directory.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16];

static int once(const char *what, const char *path, int fd)
{
	struct stat st;
	if (!strcmp(what, "stat"))
		return stat(path, &st);
	if (!strcmp(what, "read"))
		return pread(fd, buffer, 4096, 0) < 0 ? -1 : 0;
	if (!strcmp(what, "open")) {
		int opened = open(path, O_RDONLY);
		return opened < 0 ? -1 : close(opened);
	}
	DIR *dir = opendir(path);
	if (!dir)
		return -1;
	while (readdir(dir))
		;
	return closedir(dir);
}

int main(int argc, char **argv)
{
	struct timespec from, to;
	if (argc != 4)
		return 2;
	long times = atol(argv[3]);
	int fd = open(argv[2], O_RDONLY);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < times; i++)
		if (once(argv[1], argv[2], fd)) {
			perror(argv[2]);
			return 1;
		}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f\n", ((to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec) / times);
	return 0;
}

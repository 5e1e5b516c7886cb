/* Paths and structures at the edges of memory: up to and across the end of the last page, NULL,
   the kernel's half, memory that can't be read or written. And paths of 4095 and 4096 bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define P 4096
static char *page; /* two pages; then nothing */

static void tell(const char *what, long result)
{
	printf("%s: ", what);
	if (result < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%ld\n", result);
}

/* A string whose NUL is `beyond` bytes behind the end. */
static char *at_end(const char *s, int beyond)
{
	char *start = page + 2 * P - strlen(s) - 1 + beyond;
	memcpy(start, s, strlen(s) + 1 - beyond);
	return start;
}

static void paths(const char *what, const char *path)
{
	struct stat s;
	struct statfs f;
	char buffer[100];

	printf("-- %s\n", what);
	int fd = open(path, O_RDONLY);
	tell("open", fd < 0 ? -1 : 0);
	if (fd >= 0)
		close(fd);
	tell("creat", creat(path, 0600) < 0 ? -1 : 0);
	tell("stat", stat(path, &s));
	tell("statx", statx(AT_FDCWD, path, 0, 0x7ff, (void *)(page + P)));
	tell("access", access(path, R_OK));
	tell("readlink", readlink(path, buffer, sizeof buffer));
	tell("mkdir", mkdir(path, 0700));
	tell("unlink", unlink(path));
	tell("rmdir", rmdir(path));
	tell("rename from", rename(path, "new"));
	tell("rename to", rename("missing", path));
	tell("link", link(path, "new"));
	tell("symlink to", symlink(path, "link"));
	unlink("link");
	tell("symlink at", symlink("x", path));
	unlink(path);
	tell("chmod", chmod(path, 0700));
	tell("truncate", truncate(path, 0));
	tell("statfs", statfs(path, &f));
	tell("getxattr", syscall(SYS_getxattr, path, "user.x", buffer, 10));
	tell("execve", execve(path, 0, 0));
	tell("chdir", chdir(path));
}

int main(void)
{
	static char longest[P + 10];
	void *bad[] = {0, (void *)1, (void *)-1L, (void *)-4096L, (void *)(~0UL / 2 + 1)};
	char name[40];
	int i;

	page = mmap(0, 3 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 2 * P, P);
	close(creat("file", 0600));
	paths("up to the end", at_end("file", 0));
	paths("across the end", at_end("file", 1));
	for (i = 0; i < 5; i++) {
		sprintf(name, "bad pointer %d", i);
		paths(name, bad[i]);
	}
	mprotect(page, P, PROT_NONE);
	paths("not readable", page);
	mprotect(page, P, PROT_READ | PROT_WRITE);
	/* The working directory, by a long name; never the root directory: some of these succeed. */
	memset(longest, '/', sizeof longest);
	longest[0] = '.';
	for (i = P - 3; i <= P + 1; i++) {
		longest[i] = 0;
		sprintf(name, "%d slashes", i);
		paths(name, longest);
		longest[i] = '/';
	}
	for (i = 0; i < P; i++)
		longest[i] = i % 2 ? '/' : '.';
	for (i = P - 2; i <= P; i++) {
		char kept = longest[i];
		longest[i] = 0;
		sprintf(name, "%d dots and slashes", i);
		paths(name, longest);
		longest[i] = kept;
	}
	/* Where results go. */
	for (i = -1; i < 5; i++) {
		void *where = i < 0 ? page + 2 * P - 8 : bad[i];
		printf("-- result at %d\n", i);
		tell("stat", syscall(SYS_fstat, 0, where));
		tell("lstat", syscall(SYS_lstat, "/etc/passwd", where));
		tell("statx", syscall(SYS_statx, AT_FDCWD, "/etc/passwd", 0, 0x7ff, where));
		tell("statfs", syscall(SYS_statfs, "/etc/passwd", where));
		tell("readlink", syscall(SYS_readlink, "/proc/self/cwd", where, 100) < 0 ? -1 : 0);
		tell("readlink bin", syscall(SYS_readlink, "/bin", where, 100));
		tell("getdents", syscall(SYS_getdents64, open("/etc", O_RDONLY), where, 4096) < 0 ? -1 : 0);
		tell("uname", syscall(SYS_uname, where));
		tell("connect", connect(socket(AF_INET, SOCK_DGRAM, 0), where, 16));
	}
	mprotect(page, P, PROT_READ);
	printf("-- read-only\n");
	tell("stat", syscall(SYS_fstat, 0, page));
	tell("lstat", syscall(SYS_lstat, "/etc/passwd", page));
	tell("readlink", syscall(SYS_readlink, "/bin", page, 100));
	return 0;
}

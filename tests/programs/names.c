/* Tell and change the machine's names, by every system call there is for it.
   usage: names  |  names set NAME  |  names bad */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static void tell(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

int main(int argc, char **argv)
{
	struct utsname names;
	char name[65];

	if (argc > 2) {
		tell("sethostname", sethostname(argv[2], strlen(argv[2])));
		tell("setdomainname", setdomainname(argv[2], strlen(argv[2])));
	} else if (argc > 1) {
		/* The last bytes before a page that is not there. */
		char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(page + 4096, 4096);
		memset(page, 'x', 4096);
		tell("uname at NULL", syscall(SYS_uname, 0));
		tell("uname at 1", syscall(SYS_uname, 1));
		tell("uname at the top", syscall(SYS_uname, -4096L));
		tell("uname across the end", syscall(SYS_uname, page + 4096 - 389));
		tell("uname up to the end", syscall(SYS_uname, page + 4096 - 390));
		tell("uname in code", syscall(SYS_uname, (long)main & -4096L));
		memset(page, 'x', 4096);
		tell("65 bytes", sethostname(page, 65));
		tell("-1 bytes", sethostname(page, -1));
		tell("64 bytes across the end", sethostname(page + 4096 - 63, 64));
		tell("a NULL name", sethostname(0, 1));
		return 0;
	}
	uname(&names);
	gethostname(name, sizeof name);
	printf("%s %s %s %s %s %s, %s\n", names.sysname, names.nodename, names.release, names.version,
	       names.machine, names.domainname, name);
#ifdef __i386__
	struct { char sysname[65], nodename[65], release[65], version[65], machine[65]; } old;
	struct { char sysname[9], nodename[9], release[9], version[9], machine[9]; } oldest;
	tell("olduname", syscall(SYS_olduname, &old));
	printf("%s %s %s %s %s\n", old.sysname, old.nodename, old.release, old.version, old.machine);
	tell("oldolduname", syscall(SYS_oldolduname, &oldest));
	printf("%s %s %s %s %s\n", oldest.sysname, oldest.nodename, oldest.release, oldest.version,
	       oldest.machine);
#endif
	return 0;
}

/* Say what one is and sees: width of pointers, the names of the machine, a directory, a child.
   Built static, and for i386. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	struct utsname names;
	struct stat info;
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int status, server, client, served;
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("%zu bits\n", 8 * sizeof(void *));
	printf("uname %d %s\n", uname(&names), names.sysname);
	printf("stat %d %o\n", stat("/etc/passwd", &info), info.st_mode);
	printf("no such file: %d %s\n", open("/nonexistent", O_RDONLY), strerrorname_np(errno));
	printf("bad pointer: %d %s\n", open((char *)1, O_RDONLY), strerrorname_np(errno));
	printf("mkdir %d\n", mkdir("made", 0750));
	printf("rename %d\n", rename("made", "moved"));
	server = socket(AF_UNIX, SOCK_STREAM, 0);
	printf("bind %d\n", bind(server, (void *)&address, sizeof address));
	printf("listen %d\n", listen(server, 1));
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	printf("connect %d\n", connect(client, (void *)&address, sizeof address));
	served = accept(server, NULL, NULL);
	printf("send %zd\n", write(client, "hello", 5));
	char text[6] = "";
	printf("receive %zd %s\n", read(served, text, 5), text);
	unlink("socket");
	DIR *here = opendir(".");
	for (struct dirent *entry; (entry = readdir(here));)
		if (entry->d_name[0] != '.')
			printf("entry %s\n", entry->d_name);
	if (fork() == 0) {
		execl("/bin/echo", "echo", "a child", NULL);
		_exit(127);
	}
	wait(&status);
	printf("child %d\n", status);
	return 3;
}

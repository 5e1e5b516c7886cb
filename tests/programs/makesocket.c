/* makesocket FAMILY TYPE PROTOCOL: the number of interfaces that a new socket sees, or its errno. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct ifconf conf;
	struct ifreq requests[64];
	int fd = socket(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]));

	if (fd < 0) {
		printf("errno %d\n", errno);
		return 0;
	}
	conf.ifc_len = sizeof requests;
	conf.ifc_req = requests;
	if (ioctl(fd, SIOCGIFCONF, &conf))
		printf("ioctl errno %d\n", errno);
	else
		printf("%d\n", conf.ifc_len / (int)sizeof *requests);
	return 0;
}

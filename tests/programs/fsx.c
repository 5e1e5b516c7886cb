/* Random reads, writes, truncations and mappings of one file, held against a model in memory.
   fsx FILE SEED COUNT: 0, or 1 and what differed. The idea is Apple's fsx; the code is not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT = 200 * 1024 };

static unsigned char model[LIMIT], got[LIMIT], data[LIMIT];
static long size;
static int fds[2];
static const char *path;
static unsigned long state;
static long step;

static unsigned long any(unsigned long below)
{
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (state >> 33) % below;
}

static void fail(const char *what)
{
	printf("step %ld: %s: %s; size %ld\n", step, what, strerror(errno), size);
	exit(1);
}

static void same(const unsigned char *seen, long at, long length, const char *what)
{
	for (long i = 0; i < length; i++)
		if (seen[i] != model[at + i]) {
			printf("step %ld: %s: at %ld is %d, not %d\n", step, what, at + i, seen[i],
			       model[at + i]);
			exit(1);
		}
}

static void grown(long end)
{
	if (end > size)
		size = end;
}

static void put(long at, long length)
{
	for (long i = 0; i < length; i++)
		data[i] = any(256);
	memcpy(model + at, data, length);
}

int main(int argc, char **argv)
{
	path = argv[1];
	state = strtoul(argv[2], 0, 10);
	long count = strtol(argv[3], 0, 10);
	struct stat info;

	/* What is there already, from below if it is an overlay, is the model. */
	fds[0] = open(path, O_RDWR | O_CREAT, 0644);
	fds[1] = open(path, O_RDWR);
	if (fds[0] < 0 || fds[1] < 0 || (size = read(fds[0], model, LIMIT)) < 0)
		fail("open");
	for (step = 0; step < count; step++) {
		int fd = fds[any(2)];
		long at = any(LIMIT - 1), length = 1 + any(any(4) ? 5000 : LIMIT - at);
		if (length > LIMIT - at)
			length = LIMIT - at;
		long inside = at >= size ? 0 : length < size - at ? length : size - at;
		switch (any(13)) {
		case 0:
		case 1:
			put(at, length);
			if (pwrite(fd, data, length, at) != length)
				fail("write");
			grown(at + length);
			break;
		case 2:
		case 3:
			if (pread(fd, got, length, at) != inside)
				fail("read");
			same(got, at, inside, "read");
			break;
		case 4:
			if (any(2))
				at = at > size ? size : at;
			if (ftruncate(fd, at) != 0)
				fail("truncate");
			memset(model + at, 0, LIMIT - at);
			size = at;
			break;
		case 5:
		case 6:
			if (inside) {
				long start = at & ~4095L;
				unsigned char *map = mmap(0, at + inside - start, PROT_READ | PROT_WRITE,
							  MAP_SHARED, fd, start);
				if (map == MAP_FAILED)
					fail("mmap");
				same(map + (at - start), at, inside, "mapping");
				put(at, inside);
				memcpy(map + (at - start), data, inside);
				if (any(3) == 0 && msync(map, at + inside - start, MS_SYNC))
					fail("msync");
				munmap(map, at + inside - start);
			}
			break;
		case 7:
			if (any(2) ? fsync(fd) : fdatasync(fd))
				fail("fsync");
			break;
		case 8: {
			int which = any(2);
			close(fds[which]);
			fds[which] = open(path, O_RDWR);
			if (fds[which] < 0)
				fail("open again");
			break;
		}
		case 9:
			if (inside) {
				if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, inside) == 0)
					memset(model + at, 0, inside);
				else if (errno != EOPNOTSUPP)
					fail("fallocate");
			}
			break;
		case 10:
			if (posix_fallocate(fd, at, length))
				fail("posix_fallocate");
			grown(at + length);
			break;
		case 11:
			if (inside && (at + 2 * inside < LIMIT)) {
				off_t from = at, to = at + inside;
				long copied = 0, n;
				while (copied < inside) {
					n = copy_file_range(fds[0], &from, fds[1], &to, inside - copied, 0);
					if (n <= 0)
						fail("copy_file_range");
					copied += n;
				}
				memmove(model + at + inside, model + at, inside);
				grown(at + 2 * inside);
			}
			break;
		case 12:
			if (fstat(fd, &info) || info.st_size != size)
				fail("fstat");
			if (lseek(fd, 0, SEEK_END) != size)
				fail("seek");
			break;
		}
	}
	if (pread(fds[0], got, LIMIT, 0) != size)
		fail("last read");
	same(got, 0, size, "last read");
	return 0;
}

/* What is at each path, by every call that tells it: stat, lstat, fstat, fstatat, statx, statfs,
   access, readlink; also the older ones of i386. Access times are left out: others change them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static void tell(const char *what, const char *path, int result, struct stat *s)
{
	if (result < 0) {
		printf("%s %.40s: %s\n", what, path, strerrorname_np(errno));
		return;
	}
	printf("%s %.40s: dev %lx ino %lu mode %o nlink %lu ids %u %u rdev %lx size %lld blk %ld %lld m %ld.%09ld c %ld.%09ld\n",
	       what, path, (long)s->st_dev, (long)s->st_ino, s->st_mode, (long)s->st_nlink, s->st_uid,
	       s->st_gid, (long)s->st_rdev, (long long)s->st_size, (long)s->st_blksize,
	       (long long)s->st_blocks, (long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec,
	       (long)s->st_ctim.tv_sec, s->st_ctim.tv_nsec);
}

static void tellx(const char *path, int flags, unsigned mask)
{
	struct statx x;
	memset(&x, 0, sizeof x);
	int result = statx(AT_FDCWD, path, flags, mask, &x);
	if (result < 0) {
		printf("statx %x %x %.40s: %s\n", flags, mask, path, strerrorname_np(errno));
		return;
	}
	printf("statx %x %x %.40s: mask %x mode %o ino %llu size %llu attributes %llx %llx dev %u %u rdev %u %u mtime %lld btime %lld mnt %llu\n",
	       flags, mask, path, x.stx_mask, x.stx_mode, x.stx_ino, x.stx_size, x.stx_attributes,
	       x.stx_attributes_mask, x.stx_dev_major, x.stx_dev_minor, x.stx_rdev_major,
	       x.stx_rdev_minor, (long long)x.stx_mtime.tv_sec, (long long)x.stx_btime.tv_sec,
	       ((unsigned long long *)&x)[18]);
}

int main(int argc, char **argv)
{
	int i, n, fd;
	struct stat s;
	struct statfs f;
	char target[5000];

	for (i = 1; i < argc; i++) {
		const char *path = argv[i];
		tell("stat", path, stat(path, &s), &s);
		tell("lstat", path, lstat(path, &s), &s);
		tell("fstatat", path, fstatat(AT_FDCWD, path, &s, AT_NO_AUTOMOUNT), &s);
		tell("fstatat empty", path, fstatat(AT_FDCWD, path, &s, AT_EMPTY_PATH), &s);
		tell("fstatat bad", path, fstatat(AT_FDCWD, path, &s, 0x80), &s);
		tellx(path, 0, STATX_BASIC_STATS);
		tellx(path, AT_SYMLINK_NOFOLLOW, STATX_ALL);
		tellx(path, AT_STATX_FORCE_SYNC, 0x17ff);
		tellx(path, AT_STATX_SYNC_TYPE, 1);
		tellx(path, 0, 1u << 31);
		tellx(path, 0, 0);
		if ((fd = open(path, O_PATH)) >= 0) {
			tell("fstat path", path, fstat(fd, &s), &s);
			tell("fstatat path", path, fstatat(fd, "", &s, AT_EMPTY_PATH), &s);
			close(fd);
		}
		n = statfs(path, &f);
		printf("statfs %.40s: %s %lx %ld %ld %ld %lx\n", path, n ? strerrorname_np(errno) : "ok",
		       n ? 0 : (long)f.f_type, n ? 0 : (long)f.f_bsize, n ? 0 : (long)f.f_namelen,
		       n ? 0 : (long)f.f_frsize, n ? 0 : (long)f.f_flags);
		for (n = 0; n < 9; n++)
			printf("access %.40s %d: %s\n", path, n, access(path, n) ? strerrorname_np(errno) : "ok");
		for (n = 0; n < 7; n += 3) {
			memset(target, '.', sizeof target);
			int got = syscall(SYS_readlinkat, AT_FDCWD, path, target, n);
			printf("readlink %.40s %d: %d %s %.10s\n", path, n, got, got < 0 ? strerrorname_np(errno) : "", target);
		}
#ifdef __i386__
		printf("compat stat %.40s: %ld\n", path, syscall(SYS_stat, path, target));
		printf("old stat %.40s: %ld\n", path, syscall(SYS_oldstat, path, target));
		printf("statfs64 %.40s: %ld\n", path, syscall(SYS_statfs64, path, 84, target));
		printf("statfs64 %.40s: %ld\n", path, syscall(SYS_statfs64, path, 85, target));
#endif
	}
	return 0;
}

/* mount(2) and umount(2) as a program of any width makes them: a line for each call. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *what, int result) {
    printf("%s: %s\n", what, result ? strerror(errno) : "ok");
}

int main(void) {
    mkdir("point", 0755);
    say("tmpfs", mount("x", "point", "tmpfs", 0xC0ED0000 | MS_NOEXEC, "size=1M"));
    say("mkdir", mkdir("point/inside", 0755));
    say("remount", mount(NULL, "point", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    say("read only", mkdir("point/more", 0755));
    say("no type", mount("x", "point", NULL, 0, NULL));
    say("no such type", mount("x", "point", "nosuchtype", 0, NULL));
    say("no pointer", mount("x", (char *)16, "tmpfs", 0, NULL));
#ifdef SYS_umount
    say("umount", syscall(SYS_umount, "point"));
#else
    say("umount", umount2("point", 0));
#endif
    say("served", mount("point", "made", "same", 0, NULL));
    say("detach", umount2("made", MNT_DETACH));
    say("removed", access("made", F_OK));
    return 0;
}

/* Threads and processes that come and go for as long as standard input is open; each makes calls and
   looks at their results. Prints "ready", and at the end "ok" or what went wrong.
   usage: churn KIND WORKERS, KIND one of threads forks execs thread-execs vforks slow-vfork spawns
   leader calls */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static volatile int over, bad;
static char *self;

static int wrong(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    fflush(stdout);
    bad = 1;
    return 1;
}

/* 7 when every call did what it must. */
static int leaf(void) {
    struct utsname name;
    struct stat status;
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return wrong("open");
    if (write(fd, "x", 1) != 1)
        return wrong("write");
    if (close(fd))
        return wrong("close");
    if (uname(&name) || strcmp(name.sysname, "Linux"))
        return wrong("uname");
    if (stat("/", &status) || !S_ISDIR(status.st_mode))
        return wrong("stat");
    if (getpid() <= 1 || getppid() < 0)
        return wrong("getppid");
    if (!access("/nonexistent", F_OK) || errno != ENOENT)
        return wrong("access");
    return 7;
}

static void *leaf_thread(void *result) {
    *(int *)result = leaf();
    return NULL;
}

static void *exec_thread(void *unused) {
    execl(self, self, "leaf", (char *)NULL);
    return unused;
}

static void *sleep_thread(void *unused) {
    for (;;)
        pause();
    return unused;
}

static void expect(pid_t pid) {
    int status;
    if (pid < 0)
        wrong("no child");
    else if (waitpid(pid, &status, 0) != pid)
        wrong("waitpid");
    else if (status != 7 << 8) {
        printf("child: status %#x\n", status);
        wrong("child");
    }
}

static void *worker(void *kind) {
    char *const args[] = {self, "leaf", NULL};
    while (!over && !bad) {
        int result = 0;
        pid_t pid;
        pthread_t thread;
        if (!strcmp(kind, "threads")) {
            if (pthread_create(&thread, NULL, leaf_thread, &result))
                wrong("pthread_create");
            pthread_join(thread, NULL);
            if (result != 7)
                wrong("thread");
        } else if (!strcmp(kind, "forks")) {
            if (!(pid = fork()))
                _exit(leaf());
            expect(pid);
        } else if (!strcmp(kind, "execs")) {
            if (!(pid = fork()))
                execv(self, args), _exit(1);
            expect(pid);
        } else if (!strcmp(kind, "thread-execs")) {
            if (!(pid = fork())) {
                for (int i = 0; i < 3; i++)
                    pthread_create(&thread, NULL, sleep_thread, NULL);
                pthread_create(&thread, NULL, exec_thread, NULL);
                sleep_thread(NULL);
            }
            expect(pid);
        } else if (!strcmp(kind, "vforks") || !strcmp(kind, "slow-vfork")) {
            if (!(pid = vfork())) {
                if (*(char *)kind == 's')
                    nanosleep(&(struct timespec){1, 0}, NULL);
                execv(self, args);
                _exit(1);
            }
            expect(pid);
        } else if (!strcmp(kind, "spawns")) {
            if (posix_spawn(&pid, self, NULL, NULL, args, environ))
                wrong("posix_spawn");
            expect(pid);
        } else if (leaf() != 7)
            wrong("leaf");
    }
    return NULL;
}

static void *watch(void *thread) {
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    over = 1;
    pthread_join(*(pthread_t *)thread, NULL);
    puts(bad ? "failed" : "ok");
    exit(bad);
}

int main(int argc, char **argv) {
    if (argc == 2)
        return leaf();
    self = realpath("/proc/self/exe", NULL);
    int n = atoi(argv[2]);
    static pthread_t threads[1000];
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, worker, argv[1]);
    puts("ready");
    fflush(stdout);
    if (!strcmp(argv[1], "leader")) {
        pthread_create(&threads[n], NULL, watch, &threads[0]);
        pthread_exit(NULL);
    }
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    over = 1;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    puts(bad ? "failed" : "ok");
    return bad;
}

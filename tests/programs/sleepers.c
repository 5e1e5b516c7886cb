/* One thread in each sleeping system call. After a line on standard input each is woken in its own
   way, and must then have what it slept for: an interruption that was none must not be seen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failed, pipes[16][2], event, epoll, epoll2, queue, sems, listening, pair[2], lock, lock2;
static volatile int word, stopping;
static sem_t posted;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t child;
static pthread_t suspended, timed, paused;

static void check(const char *name, int good, long result) {
    if (!good) {
        printf("%s: %ld, %s\n", name, result, strerror(errno));
        fflush(stdout);
        failed = 1;
    }
}
#define SLEEPER(name, call, condition) \
    static void *name(void *unused) { \
        long r = (long)(call); \
        check(#name, condition, r); \
        return unused; \
    }

static char byte[16];
static struct timespec many = {1000, 0}, three = {3, 0};
static fd_set readable[2];
static struct pollfd polled[2];
static struct epoll_event got[2];
static struct { long type; char text[8]; } message = {1, "x"}, taken;
static struct sembuf down = {0, -1, 0}, up = {0, 1, 0};
static sigset_t none, usr2;
static void nothing(int signo) { (void)signo; }

static long cond_wait(void) {
    pthread_mutex_lock(&mutex);
    int r = 0;
    while (!stopping && !r)
        r = pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    return r;
}

SLEEPER(read_pipe, read(pipes[0][0], byte, 1), r == 1)
SLEEPER(poll_forever, poll(&polled[0], 1, -1), r == 1)
SLEEPER(ppoll_long, ppoll(&polled[1], 1, &many, &none), r == 1)
SLEEPER(select_long, select(pipes[3][0] + 1, &readable[0], NULL, NULL, NULL), r == 1)
SLEEPER(pselect_long, pselect(pipes[4][0] + 1, &readable[1], NULL, NULL, &many, &none), r == 1)
SLEEPER(epoll_forever, epoll_wait(epoll, &got[0], 1, -1), r == 1)
SLEEPER(epoll_long, epoll_pwait(epoll2, &got[1], 1, 900000, &none), r == 1)
SLEEPER(futex_wait, syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0),
        r == 0 || errno == EAGAIN) /* woken before it slept again */
SLEEPER(semaphore, sem_wait(&posted), r == 0)
SLEEPER(condition, cond_wait(), r == 0)
SLEEPER(receive, recv(pair[0], byte + 1, 1, 0), r == 1)
SLEEPER(accepting, accept(listening, NULL, NULL), r >= 0)
SLEEPER(waiting, waitpid(child, NULL, 0), r == child)
SLEEPER(suspending, (sigsuspend(&none), errno), r == EINTR)
SLEEPER(pausing, (pause(), errno), r == EINTR)
SLEEPER(timed_signal, sigtimedwait(&usr2, NULL, &many), r == SIGUSR2)
SLEEPER(message_queue, msgrcv(queue, &taken, 8, 0, 0), r == 8)
SLEEPER(semaphore_set, semop(sems, &down, 1), r == 0)
SLEEPER(file_lock, flock(lock2, LOCK_EX), r == 0)
SLEEPER(event_fd, read(event, byte + 8, 8), r == 8)
SLEEPER(nap, nanosleep(&three, NULL), r == 0)
SLEEPER(clock_nap, clock_nanosleep(CLOCK_MONOTONIC, 0, &three, NULL), r == 0)
SLEEPER(poll_timeout, poll(NULL, 0, 3000), r == 0)
SLEEPER(select_timeout, select(0, NULL, NULL, NULL, &(struct timeval){3, 0}), r == 0)
SLEEPER(epoll_timeout, epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, 3000), r == 0)

int main(void) {
    void *(*sleepers[])(void *) = {
        read_pipe, poll_forever, ppoll_long, select_long, pselect_long, epoll_forever, epoll_long,
        futex_wait, semaphore, condition, receive, accepting, waiting, suspending, pausing,
        timed_signal, message_queue, semaphore_set, file_lock, event_fd,
        nap, clock_nap, poll_timeout, select_timeout, epoll_timeout,
    };
    enum { N = sizeof sleepers / sizeof *sleepers };
    pthread_t threads[N];
    for (int i = 0; i < 7; i++)
        if (pipe(pipes[i]))
            return 2;
    polled[0] = (struct pollfd){pipes[1][0], POLLIN, 0};
    polled[1] = (struct pollfd){pipes[2][0], POLLIN, 0};
    FD_SET(pipes[3][0], &readable[0]);
    FD_SET(pipes[4][0], &readable[1]);
    epoll = epoll_create1(0), epoll2 = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[5][0], &wanted);
    epoll_ctl(epoll2, EPOLL_CTL_ADD, pipes[6][0], &wanted);
    event = eventfd(0, 0);
    sem_init(&posted, 0, 0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1000, 0}, sizeof(struct timeval));
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = sizeof name.sun_family;
    listening = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listening, (struct sockaddr *)&name, length); /* autobind */
    listen(listening, 1);
    length = sizeof name;
    getsockname(listening, (struct sockaddr *)&name, &length);
    queue = msgget(IPC_PRIVATE, 0600), sems = semget(IPC_PRIVATE, 1, 0600);
    char path[] = "/tmp/sleepers-XXXXXX";
    lock = mkstemp(path), lock2 = open(path, O_RDWR);
    unlink(path);
    flock(lock, LOCK_EX);
    signal(SIGUSR1, nothing);
    sigemptyset(&none), sigemptyset(&usr2), sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    if (!(child = fork())) {
        close(pipes[0][1]);
        poll(&(struct pollfd){pipes[0][0], 0, 0}, 1, -1); /* until every writer has closed it */
        _exit(0);
    }
    for (int i = 0; i < N; i++) {
        pthread_create(&threads[i], NULL, sleepers[i], NULL);
        if (sleepers[i] == suspending) suspended = threads[i];
        if (sleepers[i] == pausing) paused = threads[i];
        if (sleepers[i] == timed_signal) timed = threads[i];
    }
    printf("ready\n");
    fflush(stdout);
    for (int i = N - 5; i < N; i++)
        pthread_join(threads[i], NULL); /* those that time out by themselves */
    printf("timeouts are over\n");
    fflush(stdout);
    if (read(0, byte + 2, 1) != 1)
        return 3;
    stopping = 1, word = 1;
    for (int i = 0; i < 7; i++)
        if (write(pipes[i][1], "x", 1) != 1)
            return 4;
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
    sem_post(&posted);
    pthread_mutex_lock(&mutex);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    send(pair[1], "x", 1, 0);
    int caller = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(caller, (struct sockaddr *)&name, length);
    kill(child, SIGKILL);
    pthread_kill(suspended, SIGUSR1);
    pthread_kill(paused, SIGUSR1);
    pthread_kill(timed, SIGUSR2);
    msgsnd(queue, &message, 8, 0);
    semop(sems, &up, 1);
    flock(lock, LOCK_UN);
    if (write(event, &(uint64_t){1}, 8) != 8)
        return 5;
    for (int i = 0; i < N - 5; i++)
        pthread_join(threads[i], NULL);
    msgctl(queue, IPC_RMID, NULL);
    semctl(sems, 0, IPC_RMID);
    puts(failed ? "failed" : "ok");
    return failed;
}

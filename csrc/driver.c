/* The driver: runs stages of kernels, each one's work items shared out over threads.
 *
 * The threads are the library's own and sleep between calls, so that no second OpenMP runtime
 * coexists with that of Numba or PyTorch. One program has them at a time; one that comes meanwhile
 * does its work alone, which gives the same bits. So does a caller with what its threads are too
 * late for. A child process after a fork starts new ones.
 *
 * A program has no more threads than it asks for, however many an earlier one had: the others rest.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* cores */
#elif !defined(_WIN32) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 /* signal masks */
#endif

#include "fastconv.h"
#include "float_mode.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(_WIN32)
#define HAVE_THREADS 0
#else
#define HAVE_THREADS 1
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

struct job {
    fastconv_kernel kernel;
    const int64_t *args;
    int64_t items;
    int64_t parts;
};

static void do_part(const struct job *job, int64_t part, int64_t worker)
{
    const int64_t first = job->items * part / job->parts;
    const int64_t last = job->items * (part + 1) / job->parts;
    if (last > first) {
        const uint64_t before = swap_float_mode(FLOAT_MODE);
        job->kernel(job->args, first, last, worker);
        swap_float_mode(before);
    }
}

#if HAVE_THREADS

/* Looks at memory before a thread goes to sleep: some 100 microseconds, in which the next call of a
 * network mostly comes. Waking a thread takes as long, or several times that on a virtual machine,
 * and may put it on a busy core. While a program runs its threads do not sleep at all; after so
 * many looks they let others have the core. */
enum { MOST_THREADS = 256, LOOKS = 4000, YIELDS = 1000 };

/* Parts per worker of a job that has to wake a thread: that one comes late, and takes what the
 * others have not begun by then. Threads that are awake get one part each. */
enum { LATE_PARTS = 4 };

/* Nanoseconds after a program in which the next one counts as coming right behind it: about as long
 * as threads look before they sleep. */
enum { SOON = 100000 };

/* Looks between two looks at which core a thread is on. */
enum { PLACE_LOOKS = 512 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t begin;
    pthread_cond_t rest;
    pthread_cond_t end;
    int64_t threads;         /* that were started, besides the caller's */
    _Atomic int64_t helpers; /* of them, the first so many, that the latest program has */
    _Atomic uint64_t round;  /* counts the jobs */
    int64_t next;            /* the first part of this one that is not claimed yet */
    _Atomic int64_t unfinished;
    struct job job;
    char asleep[MOST_THREADS];
    int64_t ended;    /* when the latest program did */
    _Atomic int core; /* of the thread whose program it is */
    _Atomic int busy; /* a program has the threads */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .begin = PTHREAD_COND_INITIALIZER,
          .rest = PTHREAD_COND_INITIALIZER,
          .end = PTHREAD_COND_INITIALIZER};

#if defined(__linux__)

/* Some schedulers wake a thread on the core of the one that wakes it, which is busy from then on,
 * and leave it there for milliseconds while another core has nothing to do. So who wakes others
 * sends them away from its own core; each may go anywhere again as soon as it runs. */
static struct {
    pid_t thread;
    int asleep;
    int sent;
    cpu_set_t allowed;
} places[MOST_THREADS];

static void note_sleep(int64_t number, int asleep)
{
    places[number].thread = (pid_t)syscall(SYS_gettid);
    places[number].asleep = asleep;
    if (!asleep && places[number].sent) {
        places[number].sent = 0;
        sched_setaffinity(0, sizeof places[number].allowed, &places[number].allowed);
    }
}

/* The lock is held. */
static void send_away(int64_t helpers)
{
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE) {
        return;
    }
    for (int64_t i = 0; i < helpers; i++) {
        cpu_set_t *allowed = &places[i].allowed;
        if (!places[i].asleep || places[i].sent ||
            sched_getaffinity(places[i].thread, sizeof *allowed, allowed) != 0) {
            continue;
        }
        cpu_set_t others = *allowed;
        CPU_CLR((size_t)here, &others);
        places[i].sent = CPU_COUNT(&others) > 0 &&
                         sched_setaffinity(places[i].thread, sizeof others, &others) == 0;
    }
}

static void note_core(void)
{
    pool.core = sched_getcpu();
}

/* Leave the core of the thread that this one works for: while both run, this one only looks
 * for work in turn with who makes it, and never sleeps. Where there are more threads than cores,
 * some share one anyway. */
static void leave_core(void)
{
    const int here = sched_getcpu();
    cpu_set_t allowed;
    if (here != pool.core || here < 0 || here >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0 ||
        CPU_COUNT(&allowed) <= pool.helpers) {
        return;
    }
    cpu_set_t others = allowed;
    CPU_CLR((size_t)here, &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) {
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
}

#else

static void note_core(void)
{
}

static void leave_core(void)
{
}

static void note_sleep(int64_t number, int asleep)
{
    (void)number;
    (void)asleep;
}

static void send_away(int64_t helpers)
{
    (void)helpers;
}

#endif

static void pause_briefly(int64_t look)
{
    if (look >= LOOKS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take the next part, and do it. The lock is held, but while it is done. */
static void take_part(int64_t worker)
{
    const int64_t part = pool.next++;
    const struct job job = pool.job;
    pthread_mutex_unlock(&pool.lock);
    do_part(&job, part, worker);
    pthread_mutex_lock(&pool.lock);
    if (--pool.unfinished == 0) {
        pthread_cond_signal(&pool.end);
    }
}

static void *work(void *counted)
{
    const int64_t number = (int64_t)(intptr_t)counted;
    uint64_t seen = 0;
    for (;;) {
        for (int64_t look = 0; pool.round == seen && number < pool.helpers &&
                               (look < LOOKS || pool.busy); look++) {
            pause_briefly(look);
            if (look % PLACE_LOOKS == PLACE_LOOKS - 1 && pool.busy) {
                leave_core();
            }
        }
        pthread_mutex_lock(&pool.lock);
        while (pool.round == seen || number >= pool.helpers) {
            note_sleep(number, 1);
            pool.asleep[number] = 1;
            pthread_cond_wait(number < pool.helpers ? &pool.begin : &pool.rest, &pool.lock);
            pool.asleep[number] = 0;
            note_sleep(number, 0);
        }
        seen = pool.round;
        /* While a part was done another job may have begun, of a program with fewer threads. */
        while (number < pool.helpers && pool.next < pool.job.parts) {
            take_part(number + 1);
            seen = pool.round;
        }
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&pool.lock);
}

static void after_fork_in_child(void)
{
    /* The parent's threads are not here, nor is a call that they were in. */
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.begin, NULL);
    pthread_cond_init(&pool.rest, NULL);
    pthread_cond_init(&pool.end, NULL);
    pool.threads = 0;
    pool.helpers = 0;
    pool.next = 0;
    pool.job.parts = 0;
    pool.unfinished = 0;
    pool.busy = 0;
    memset(pool.asleep, 0, sizeof pool.asleep);
#if defined(__linux__)
    memset(places, 0, sizeof places);
#endif
}

/* As the library is loaded: a fork in another thread would not be noticed during the first call. */
__attribute__((constructor)) static void notice_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Have at least `wanted` threads, as far as the system gives them. The lock is held.
 *
 * Signals are not theirs: a program that waits for one has blocked it in the threads that it knows.
 */
static void start_threads(int64_t wanted)
{
    if (pool.threads >= wanted) {
        return;
    }
    sigset_t others, before;
    sigfillset(&others);
    const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        sigdelset(&others, own[i]);
    }
    pthread_sigmask(SIG_SETMASK, &others, &before);
    while (pool.threads < wanted && pool.threads < MOST_THREADS) {
        pthread_t thread;
        void *number = (void *)(intptr_t)pool.threads;
        if (pthread_create(&thread, NULL, work, number) != 0) {
            break;
        }
        pthread_detach(thread);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Whether there are so many threads, and none of them sleeps. The lock is held. */
static int are_awake(int64_t wanted)
{
    if (pool.threads < wanted || pool.helpers < wanted) {
        return 0;
    }
    for (int64_t i = 0; i < wanted; i++) {
        if (pool.asleep[i]) {
            return 0;
        }
    }
    return 1;
}

/* Have the threads for a program, as many as are wanted and there are; 0 where another has them. A
 * brief one has those alone that are awake, unless it comes right behind another: a series of them
 * is worth waking threads for, a single one is over before these could help. */
static int64_t enlist(int64_t wanted, int brief)
{
    int64_t helpers = 0;
    if (wanted > 0) {
        pthread_mutex_lock(&pool.lock);
        if (!pool.busy && (!brief || are_awake(wanted) || now() - pool.ended < SOON)) {
            note_core();
            start_threads(wanted);
            helpers = wanted < pool.threads ? wanted : pool.threads;
            pool.busy = helpers > 0;
            if (helpers > pool.helpers) {
                pthread_cond_broadcast(&pool.rest);
            }
            pool.helpers = helpers;
        }
        pthread_mutex_unlock(&pool.lock);
    }
    return helpers;
}

static void dismiss(int64_t helpers, int64_t wanted)
{
    if (wanted > 0) {
        pthread_mutex_lock(&pool.lock);
        pool.ended = now();
        if (helpers > 0) {
            pool.busy = 0;
        }
        pthread_mutex_unlock(&pool.lock);
    }
}

static void run(struct job *job, int64_t helpers)
{
    helpers = helpers < job->items - 1 ? helpers : job->items - 1;
    if (helpers <= 0) {
        job->parts = 1;
        do_part(job, 0, 0);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    int late = 0;
    for (int64_t i = 0; i < helpers; i++) {
        late |= pool.asleep[i];
    }
    job->parts = (helpers + 1) * (late ? LATE_PARTS : 1);
    job->parts = job->parts < job->items ? job->parts : job->items;
    pool.job = *job;
    pool.round++;
    pool.next = 1;
    pool.unfinished = job->parts - 1;
    send_away(helpers);
    pthread_cond_broadcast(&pool.begin);
    pthread_mutex_unlock(&pool.lock);
    do_part(job, 0, 0);
    /* What threads that still wake up have not begun is done before they could. */
    pthread_mutex_lock(&pool.lock);
    while (pool.next < job->parts) {
        take_part(0);
    }
    pthread_mutex_unlock(&pool.lock);
    for (int64_t look = 0; look < LOOKS + YIELDS && pool.unfinished > 0; look++) {
        pause_briefly(look);
    }
    pthread_mutex_lock(&pool.lock);
    while (pool.unfinished > 0) {
        pthread_cond_wait(&pool.end, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}

#else

static int64_t enlist(int64_t wanted, int brief)
{
    (void)wanted;
    (void)brief;
    return 0;
}

static void dismiss(int64_t helpers, int64_t wanted)
{
    (void)helpers;
    (void)wanted;
}

static void run(struct job *job, int64_t helpers)
{
    (void)helpers;
    job->parts = 1;
    do_part(job, 0, 0);
}

#endif

/* Blocks of up to so many words are filled in on the stack. */
enum { FEW_WORDS = 2048 };

int fastconv_drive(int64_t stages_at, int64_t stage_count, int64_t block_at, int64_t word_count,
                   int64_t places_at, int64_t place_count, const char *addresses,
                   int64_t address_count, int64_t threads)
{
    const int64_t *stages = (const int64_t *)(intptr_t)stages_at;
    const int64_t *places = (const int64_t *)(intptr_t)places_at;
    const size_t size = (size_t)word_count * sizeof(int64_t);
    int64_t few[FEW_WORDS], *words = word_count <= FEW_WORDS ? few : malloc(size);
    if (words == NULL) {
        return -1;
    }
    memcpy(words, (const void *)(intptr_t)block_at, size);
    for (int64_t i = 0; i < place_count; i++) {
        const int64_t *place = places + 3 * i;
        const int64_t buffer = place[1] < 0 ? place[1] + address_count : place[1];
        int64_t base;
        memcpy(&base, addresses + buffer * (int64_t)sizeof base, sizeof base);
        words[place[0]] = base != 0 ? base + place[2] : 0;
    }
    const int brief = threads < 0;
    const int64_t wanted = (brief ? -threads : threads) - 1, helpers = enlist(wanted, brief);
    for (int64_t i = 0; i < stage_count; i++) {
        const int64_t *stage = stages + 3 * i;
        struct job job = {
            .kernel = (fastconv_kernel)(intptr_t)stage[0],
            .args = (const int64_t *)((const char *)words + stage[1]),
            .items = stage[2],
        };
        run(&job, helpers);
    }
    dismiss(helpers, wanted);
    if (words != few) {
        free(words);
    }
    return 0;
}

/* The driver: runs stages of kernels, each one's work items shared out over threads.
 *
 * The threads are the library's own and sleep between calls, so that no second OpenMP runtime
 * stands beside that of Numba or PyTorch. One call has them at a time; one that comes meanwhile
 * does its work alone, which gives the same bits. A child process after a fork starts new ones.
 */
#include "fastconv.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define HAVE_THREADS 0
#else
#define HAVE_THREADS 1
#include <pthread.h>
#endif

struct job {
    fastconv_kernel kernel;
    const int64_t *args;
    int64_t items;
    int64_t workers;
};

static void do_part(const struct job *job, int64_t worker)
{
    const int64_t first = job->items * worker / job->workers;
    const int64_t last = job->items * (worker + 1) / job->workers;
    if (last > first) {
        job->kernel(job->args, first, last, worker);
    }
}

#if HAVE_THREADS

/* Looks at memory before a thread goes to sleep: some 100 microseconds, in which the next stage or
 * call of a network mostly comes. Waking a thread takes as long, and may put it on a busy core. */
enum { MOST_THREADS = 256, LOOKS = 4000 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t begin;
    pthread_cond_t end;
    int64_t threads;        /* that were started, beside the caller's */
    _Atomic uint64_t round; /* counts the jobs */
    int64_t unstarted;      /* workers that have not yet taken their part of this one */
    _Atomic int64_t unfinished;
    struct job job;
    int busy;
    int watched; /* whether forks are noticed */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .begin = PTHREAD_COND_INITIALIZER,
          .end = PTHREAD_COND_INITIALIZER};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *unused)
{
    (void)unused;
    uint64_t seen = 0;
    for (;;) {
        for (int look = 0; look < LOOKS && pool.round == seen; look++) {
            pause_briefly();
        }
        pthread_mutex_lock(&pool.lock);
        while (pool.unstarted == 0 || pool.round == seen) {
            pthread_cond_wait(&pool.begin, &pool.lock);
        }
        seen = pool.round;
        const int64_t worker = pool.unstarted--;
        const struct job job = pool.job;
        pthread_mutex_unlock(&pool.lock);
        do_part(&job, worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.unfinished == 0) {
            pthread_cond_signal(&pool.end);
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
    pthread_cond_init(&pool.end, NULL);
    pool.threads = 0;
    pool.unstarted = 0;
    pool.unfinished = 0;
    pool.busy = 0;
}

/* Have at least `wanted` threads, as far as the system gives them. The lock is held. */
static void start_threads(int64_t wanted)
{
    if (!pool.watched) {
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        pool.watched = 1;
    }
    while (pool.threads < wanted && pool.threads < MOST_THREADS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) != 0) {
            break;
        }
        pthread_detach(thread);
        pool.threads++;
    }
}

static void run(struct job *job)
{
    int64_t helpers = (job->workers < job->items ? job->workers : job->items) - 1;
    if (helpers > 0) {
        pthread_mutex_lock(&pool.lock);
        if (pool.busy) {
            helpers = 0;
        } else {
            start_threads(helpers);
            helpers = helpers < pool.threads ? helpers : pool.threads;
            pool.busy = helpers > 0;
        }
        if (helpers > 0) {
            job->workers = helpers + 1;
            pool.job = *job;
            pool.round++;
            pool.unstarted = helpers;
            pool.unfinished = helpers;
            pthread_cond_broadcast(&pool.begin);
        }
        pthread_mutex_unlock(&pool.lock);
    }
    if (helpers <= 0) {
        job->workers = 1;
        do_part(job, 0);
        return;
    }
    do_part(job, 0);
    for (int look = 0; look < LOOKS && pool.unfinished > 0; look++) {
        pause_briefly();
    }
    pthread_mutex_lock(&pool.lock);
    while (pool.unfinished > 0) {
        pthread_cond_wait(&pool.end, &pool.lock);
    }
    pool.busy = 0;
    pthread_mutex_unlock(&pool.lock);
}

#else

static void run(struct job *job)
{
    job->workers = 1;
    do_part(job, 0);
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
    for (int64_t i = 0; i < stage_count; i++) {
        const int64_t *stage = stages + 3 * i;
        struct job job = {
            .kernel = (fastconv_kernel)(intptr_t)stage[0],
            .args = (const int64_t *)((const char *)words + stage[1]),
            .items = stage[2],
            .workers = threads,
        };
        run(&job);
    }
    if (words != few) {
        free(words);
    }
    return 0;
}

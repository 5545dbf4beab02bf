/* Several callers share the driver's threads: built under a thread sanitizer by `make sanitize`. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fastconv.h"

enum { ITEMS = 1000, FEW = 37, ROUNDS = 300, CALLERS = 4 };

static void count(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    int64_t *counts = (int64_t *)(intptr_t)args[0];
    /* A worker has scratch memory by its number, which no two threads may have at a time. */
    _Atomic char *at_work = (_Atomic char *)(intptr_t)args[2];
    if (worker >= args[1] || at_work[worker]++ != 0) {
        fprintf(stderr, "worker %d is one of %d, or at work twice\n", (int)worker, (int)args[1]);
        exit(1);
    }
    for (int64_t i = first; i < last; i++) {
        counts[i]++;
    }
    at_work[worker]--;
}

static int64_t at(const void *p)
{
    return (int64_t)(intptr_t)p;
}

static void *call(void *unused)
{
    (void)unused;
    int64_t counts[ITEMS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t kernel = (int64_t)(intptr_t)count;
        const int64_t stages[] = {kernel, 0, ITEMS, kernel, 0, FEW}, places[] = {0, -1, 0};
        const int64_t addresses[] = {at(counts)};
        const int64_t threads = 1 + round % 4;
        _Atomic char at_work[4] = {0};
        const int64_t block[] = {0, threads, at(at_work)};
        if (round % 50 == 0) {
            /* Long enough for the threads to sleep. */
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        fastconv_drive(at(stages), 2, at(block), 3, at(places), 1, (const char *)addresses, 1,
                       threads);
    }
    for (int i = 0; i < ITEMS; i++) {
        if (counts[i] != (i < FEW ? 2 : 1) * ROUNDS) {
            fprintf(stderr, "item %d was done %d times\n", i, (int)counts[i]);
            exit(1);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        pthread_create(&callers[i], NULL, call, NULL);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i], NULL);
    }
    return 0;
}

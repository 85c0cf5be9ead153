/* Whether OpenMP can start its threads: libgomp ends the process where it cannot (a limit of memory or of processes), so
 * as many are started and joined before. Once for each size of team and calling thread, for whom OpenMP keeps them. */
#ifndef CCONV_TEAM_H
#define CCONV_TEAM_H
#if defined(_OPENMP) && !defined(_MSC_VER)
#include <pthread.h>

static void *cconv_wait(void *lock) {
    pthread_mutex_lock((pthread_mutex_t *)lock);
    pthread_mutex_unlock((pthread_mutex_t *)lock);
    return NULL;
}

/* Threads that a team may have, of n that are wanted. */
static int cconv_team(int n) {
    static _Thread_local int known = 1;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t started[1024];
    int count = 0;
    if (n > 1024) n = 1024;
    if (n <= known) return n;
    pthread_mutex_lock(&lock);
    while (count < n - 1 && pthread_create(&started[count], NULL, cconv_wait, &lock) == 0) count++;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < count; i++) pthread_join(started[i], NULL);
    pthread_mutex_destroy(&lock);
    if (count < n - 1) return known > 1 ? known : 1; /* none to spare: OpenMP needs some memory more */
    return known = n;
}
#else
static int cconv_team(int n) { return n; }
#endif
#endif

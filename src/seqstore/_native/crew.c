/* crew.c: a few threads that work beside the caller while a log is opened.
 *
 * None of them has to be: where the system refuses one, the others do its share.
 */
#include <signal.h>
#include <unistd.h>

#include "recover.h"

void sq_crew_start(struct sq_crew *crew, void *(*work)(void *context), void *context)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    sigset_t all, before;
    crew->count = 0;
    /* Signals are the program's own: none of its handlers runs on our threads. */
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return;
    while (crew->count < SQ_CREW_MOST && crew->count + 1 < processors &&
           pthread_create(&crew->threads[crew->count], NULL, work, context) == 0)
        crew->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void sq_crew_join(struct sq_crew *crew)
{
    while (crew->count > 0)
        pthread_join(crew->threads[--crew->count], NULL);
}

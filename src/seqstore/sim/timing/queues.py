"""First come, first served: when a server is done with each of a row of jobs, without a loop over them."""

from __future__ import annotations

import numpy as np

from seqstore.sim.timing.drive import Times


def in_order(ready: Times, alone: Times, busy: Times, free: int) -> Times:
    """Serve jobs in their order on one server.

    A job that finds the server idle takes `alone`, one that follows another at once takes `busy`::

        done[i] = max(ready[i] + alone[i], done[i - 1] + busy[i]),   done[-1] = free

    With S the running sum of `busy` this is done[i] = S[i] + max(free, max over j <= i of ready[j] + alone[j]
    - S[j]): a sum and a running maximum.

    Parameters
    ----------
    ready, alone, busy : int64 array, shape (n,), nanoseconds
        When each job could begin, and how long it takes.
    free : int, nanoseconds
        When the server is done with what came before.

    Returns
    -------
    int64 array, shape (n,), nanoseconds

    References
    ----------
    D. V. Lindley, The theory of queues with a single server, Proc. Cambridge Phil. Soc. 48 (1952): the
    recursion, where alone = busy.
    F. Baccelli et al., Synchronization and Linearity, Wiley (1992): its solution as a max-plus linear system.
    """
    work = np.cumsum(busy)
    done: Times = work + np.maximum(np.maximum.accumulate(ready + alone - work), free)
    return done


def each_in_order(servers: Times, ready: Times, busy: Times, free: Times) -> Times:
    """Serve jobs in their order, each on the server that it names.

    Parameters
    ----------
    servers : int64 array, shape (n,)
        Which server does each job.
    ready, busy : int64 array, shape (n,), nanoseconds
        When each job could begin, and how long it takes.
    free : int64 array, shape (servers,), nanoseconds
        When each server is done with what came before; brought up to date.

    Returns
    -------
    int64 array, shape (n,), nanoseconds
        When each job is done.
    """
    order = np.argsort(servers, kind="stable")
    ends = np.cumsum(np.bincount(servers, minlength=len(free)))
    ready, busy = ready[order], busy[order]
    sorted_done = np.empty_like(ready)
    begin = 0
    for server, end in enumerate(ends.tolist()):
        if end > begin:
            jobs = slice(begin, end)
            sorted_done[jobs] = in_order(ready[jobs], busy[jobs], busy[jobs], int(free[server]))
            free[server] = sorted_done[end - 1]
        begin = end
    done = np.empty_like(sorted_done)
    done[order] = sorted_done
    return done

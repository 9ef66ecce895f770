"""One of the cases with Python's multiprocessing: prints `name value` a line, for bench/synchronize.ts."""

import multiprocessing as mp
import sys
import time

SECONDS = float(sys.argv[1])
CASE = sys.argv[2]


def uncontended(lock):
    count = 2000
    best = None
    for _ in range(300):
        begun = time.perf_counter()
        for _ in range(count):
            lock.acquire()
            lock.release()
        took = (time.perf_counter() - begun) / count * 1e9
        best = took if best is None else min(best, took)
    return best


def alternate(lock, turn, mine, end, out):
    count = 0
    while time.time() < end:
        for _ in range(100):
            lock.acquire()
            if turn.value == mine:
                turn.value = 1 - mine
                count += 1
            lock.release()
    out.put(count)


def contend(lock, ready, end, out):
    ready.wait()
    until = end.value
    is_counted = False
    count = 0
    longest = 0.0
    before = time.perf_counter()
    while True:
        lock.acquire()
        now = time.perf_counter()
        if now - before > longest:
            longest = now - before
        count += 1
        lock.release()
        before = time.perf_counter()
        if count % 64 != 0:
            continue
        at = time.time()
        if at > until:
            break
        if is_counted or at < until - 2:
            continue
        is_counted = True
        count = 0
        longest = 0.0
    out.put((count, longest))


def meet(barrier, rounds, out):
    for _ in range(500):
        barrier.wait()
    begun = time.perf_counter()
    for _ in range(rounds):
        barrier.wait()
    out.put(rounds / (time.perf_counter() - begun))


def pingpong(condition, turn, mine, rounds, out):
    begun = time.perf_counter()
    with condition:
        for _ in range(rounds):
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()
    out.put(rounds / (time.perf_counter() - begun))


def run(target, arguments):
    children = [mp.Process(target=target, args=args) for args in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join()


def alternating(out):
    turn, lock = mp.RawValue("i", 0), mp.Lock()
    end = time.time() + SECONDS + 0.2
    run(alternate, [(lock, turn, k, end, out) for k in range(2)])
    print("alternate", sum(out.get() for _ in range(2)) / SECONDS)


def contending(out):
    until, ready, lock = mp.RawValue("d", 0), mp.Event(), mp.Lock()
    children = [mp.Process(target=contend, args=(lock, ready, until, out)) for _ in range(8)]
    for child in children:
        child.start()
    time.sleep(0.3)
    until.value = time.time() + 2.5
    ready.set()
    got = [out.get() for _ in children]
    counts = [count for count, _ in got]
    print("contended", sum(counts) / 2)
    print("contended-share", min(counts) / (sum(counts) / 8))
    print("contended-longest", max(longest for _, longest in got) * 1e3)


def meeting(out):
    barrier = mp.Barrier(4)
    run(meet, [(barrier, 2000, out)] * 4)
    print("barrier", min(out.get() for _ in range(4)))


def playing(out):
    condition, turn = mp.Condition(), mp.RawValue("i", 0)
    run(pingpong, [(condition, turn, k, 5000, out) for k in range(2)])
    print("pingpong", min(out.get() for _ in range(2)))


CASES = {"alternate": alternating, "contended": contending, "barrier": meeting, "pingpong": playing}

if __name__ == "__main__":
    mp.set_start_method("fork")
    if CASE == "uncontended":
        print("uncontended", uncontended(mp.Lock()))
    else:
        CASES[CASE](mp.Queue())

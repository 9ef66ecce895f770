"""Pools of Python's multiprocessing: prints `name value` a line, in ms, for bench/pool.ts."""

import multiprocessing as mp
import sys
import time


def square(x):
    return x * x


def best(rounds, run):
    return min(run() for _ in range(rounds))


def main():
    cases = sys.argv[1:]
    with mp.Pool(2) as pool:
        pool.map(square, range(100))

        def tasks():
            begun = time.perf_counter()
            results = [pool.apply_async(square, (i,)) for i in range(20000)]
            for result in results:
                result.get()
            return (time.perf_counter() - begun) * 1000

        def million():
            numbers = list(range(1000000))
            begun = time.perf_counter()
            pool.map(square, numbers)
            return (time.perf_counter() - begun) * 1000

        if "tasks" in cases:
            print("tasks", best(3, tasks))
        if "map" in cases:
            print("map", best(3, million))


if __name__ == "__main__":
    mp.set_start_method("fork")
    main()

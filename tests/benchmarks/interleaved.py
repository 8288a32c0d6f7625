"""Contestants timed in turn on one machine, mostly in processes of their own.

A process of its own lets each run as its users run it: its memory allocator,
environment variables and threads are not the others'.
"""

import statistics
import subprocess
import sys
import time

TUNED, PLAIN = "keras_ratn as `ratn` has it", "keras_ratn, plain"
PEERS = (
    "PyTorch, channels first",
    "PyTorch, channels last",
    "PyTorch, channels last, memory kept",
)
_MARK = "@@"


def serve(functions):
    """The contestant's side: runs what it is asked for, tells the seconds.

    Args:
        functions: Dictionary: name of a task -> function without arguments,
            warmed up.
    """
    print(_MARK, "ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        functions[line.strip()]()
        print(_MARK, time.perf_counter() - started, flush=True)


class Contestant:
    """A process that runs `python -m MODULE --contestant NAME`."""

    def __init__(self, module, name):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--contestant", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def seconds(self, task):
        """Of one run of a task."""
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith(_MARK):
                return line.removeprefix(_MARK).strip()
            print(line, end="", flush=True)
        raise SystemExit(f"{self.name} ended by itself; run it alone to see")


def start_all(module):
    """The contestants against PyTorch, one after the other."""
    return [Contestant(module, name) for name in (TUNED, PLAIN, *PEERS)]


def contest(contestants, task, repeats, batch, wanted):
    """Prints images/s of each, by the medians of runs in turn, and ratios.

    Args:
        contestants: List of `Contestant`.
        task: String, what they are asked to run.
        repeats: Integer.
        batch: Integer. Images in one run of the task.
        wanted: String, the ratios that are aimed at.
    """
    times = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        contestant.seconds(task)
    for _ in range(repeats):
        for contestant in contestants:
            times[contestant.name].append(contestant.seconds(task))
    rates = {n: batch / statistics.median(t) for n, t in times.items()}
    for name, rate in rates.items():
        print(f"{task}: {name}: {rate:.2f} images/s", flush=True)
    best = max(rates[peer] for peer in PEERS)
    best_plain = max(rates[peer] for peer in PEERS[:2])
    print(
        f"{task}: ratio {rates[TUNED] / rates[PEERS[0]]:.2f} to PyTorch's "
        f"default layout, {rates[TUNED] / best_plain:.2f} to its better one, "
        f"{rates[TUNED] / best:.2f} to the best of all; plain: "
        f"{rates[PLAIN] / best_plain:.2f} to the better layout "
        f"(wanted: {wanted})"
    )


def best_of(runs, rounds, seconds=1.0):
    """Best median time in ms of each function, all taking turns.

    Args:
        runs: Dictionary of functions.
        rounds: Integer. Turns.
        seconds: Float. How long a turn takes at least.
    """
    best = {}
    for _ in range(rounds):
        for key, run in runs.items():
            run()
            times = []
            stop = time.monotonic() + seconds
            while len(times) < 5 or time.monotonic() < stop:
                start = time.perf_counter()
                run()
                times.append(1000 * (time.perf_counter() - start))
            median = statistics.median(times)
            best[key] = min(best.get(key, median), median)
    return best

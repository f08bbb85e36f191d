"""Run many seeds: `python -m tests.simulation --seeds 100000 [--seed FIRST] [--plant NAME] [--jobs N]`.

A seed that fails is printed with what went wrong, then run again, telling all that happened.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from .features import NONE, Feature, named
from .plants import PLANTS, planted
from .run import Harder, Outcome, run_seed

BATCH = 200

Features = tuple[frozenset[Feature] | None, frozenset[Feature]]
"""Those drawn by their chance (None: as the plant or the product has them), and those that come in every seed."""


def _with_features(harder: Harder, features: Features) -> Harder:
    chance, surely = features
    return dataclasses.replace(
        harder, features=harder.features if chance is None else chance, surely=harder.surely | surely
    )


def _batch(first: int, count: int, plant: str | None, features: Features) -> tuple[list[Outcome], int, int]:
    failed = []
    calls = failed_calls = 0
    with planted(plant) as needed:
        harder = _with_features(needed, features)
        for seed in range(first, first + count):
            outcome = run_seed(seed, harder=harder)
            calls += outcome.calls
            failed_calls += outcome.failed_calls
            if outcome.failures:
                failed.append(outcome)
    gc.collect()  # a world is full of cycles, and what runs in it has told the collector to come seldom
    return failed, calls, failed_calls


def _batches(
    first: int, count: int, plant: str | None, features: Features, jobs: int
) -> Iterator[tuple[int, list[Outcome], int, int]]:
    starts = range(first, first + count, BATCH)
    sizes = [min(BATCH, first + count - start) for start in starts]
    if jobs == 1:
        for start, size in zip(starts, sizes, strict=True):
            yield size, *_batch(start, size, plant, features)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for size, result in zip(
            sizes, pool.map(_batch, starts, sizes, [plant] * len(sizes), [features] * len(sizes)), strict=True
        ):
            yield size, *result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to run")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; alone: that one only, telling all")
    parser.add_argument("--plant", choices=sorted(PLANTS), default=None, help="plant this bug and see it found")
    parser.add_argument("--jobs", type=int, default=1, help="processes to use")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first batch with a failure")
    parser.add_argument(
        "--features", type=named, default=None, help="names with commas, all, none or held (see features.py)"
    )
    parser.add_argument("--surely", type=named, default=NONE, help="features that come in every seed")
    given = parser.parse_args()
    features: Features = (given.features, given.surely)
    if given.seed is not None and "--seeds" not in sys.argv and not any(a.startswith("--seeds=") for a in sys.argv):
        return _replay(given.seed, given.plant, features)
    began = time.monotonic()
    done = calls = failed_calls = 0
    failed: list[Outcome] = []
    for size, found, made, lost in _batches(given.seed or 0, given.seeds, given.plant, features, given.jobs):
        done += size
        calls += made
        failed_calls += lost
        failed += found
        for outcome in found:
            print(f"seed {outcome.seed} FAILED: {outcome.failures[0][:400]}", flush=True)
        if found and not given.keep_going:
            break
        if done % (BATCH * 50) == 0:
            print(f"{done} seeds, {time.monotonic() - began:.0f} s", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{done} seeds in {seconds:.1f} s: {len(failed)} failed; {calls} calls between processes, "
        f"{failed_calls} of them failed by faults"
    )
    if failed and not given.keep_going:
        plant = f" --plant {given.plant}" if given.plant else ""
        print(
            f"\nreplaying the first; again with: python -m tests.simulation --seed {failed[0].seed}{plant}{_shown(features)}\n"
        )
        _replay(failed[0].seed, given.plant, features)
    return 1 if failed else 0


def _shown(features: Features) -> str:
    chance, surely = features
    shown = "" if chance is None else f" --features {','.join(sorted(chance)) or 'none'}"
    return shown + (f" --surely {','.join(sorted(surely))}" if surely else "")


def _replay(seed: int, plant: str | None, features: Features) -> int:
    with planted(plant) as harder:
        outcome = run_seed(seed, tells=True, harder=_with_features(harder, features))
    print("\n".join(outcome.lines))
    print(
        f"seed {seed}: {'FAILED' if outcome.failures else 'passed'}; {outcome.seconds:.3f} s simulated, "
        f"{outcome.calls} calls, digest {outcome.digest[:16]}"
    )
    for failure in outcome.failures:
        print(f"  {failure}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())

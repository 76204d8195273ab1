#!/usr/bin/env python3
"""Compiles the OpenCL programs of V4-Flash and V4-Pro for GPUs that need not be here, and checks what the compilers say.

gpu_check.py --v4rt build/bin/v4rt [--targets sm_90,gfx1100,gfx90a,dg2] [--only linear] [--out FOLDER]

Prints a line for each kernel and target, then what is asked of them. Exit status: 0, 1 when something asked is not so, 77
when there is no compiler. examples/setup.sh has the packages; gpu_check.sh installs them.
"""
import argparse
import concurrent.futures
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import amd
import intel
import nvidia
import tools

TARGETS = {"sm_90": nvidia, "gfx1100": amd, "gfx90a": amd, "dg2": intel}
BLOCK = 32  # of weights.cl
ROWS = 8  # of which a work-item sums a block, for one token; 4 at a time for many


@dataclass(frozen=True)
class Program:
    file: str
    kernel: str
    group: tuple  # work-items of a work-group
    options: str
    source: str

    def option(self, name, default=0):
        values = [o.split("=", 1)[1] for o in self.options.split() if o.startswith(f"-D{name}=")]
        return (int(values[0]) if values[0].lstrip("-").isdigit() else values[0]) if values else default

    def __str__(self):
        shown = [o[2:] for o in self.options.split() if o.startswith("-D") and o[2:].split("=")[0] not in ("VECTOR_LANES", "V4RT_CORRECT_DIVIDE_SQRT")]
        return f"{self.kernel} of {self.file} {' '.join(shown)}"


def programs(v4rt, folder):
    """Those of both releases, each once."""
    found = {}
    for release in ("flash", "pro"):
        dump = os.path.join(folder, release)
        shutil.rmtree(dump, ignore_errors=True)
        tools.run([v4rt, "kernels", "--release", release, "--device", "opencl", "--lanes", "work-items", "--dump", dump])
        with open(os.path.join(dump, "index.json")) as file:
            index = json.load(file)
        for p in index["devices"][0]["programs"]:
            kernel = p["kernels"][0]
            found[p["file"], kernel["name"], p["options"]] = Program(
                p["file"], kernel["name"], tuple(kernel["work_group_size"]), p["options"], os.path.join(dump, p["source"]))
    return [found[key] for key in sorted(found)]


class Report:
    def __init__(self):
        self.asked = []  # (what, the worst figure, whether it is as asked)

    def ask(self, what, figures, good):
        """`figures`: (figure, of what). All must be good."""
        bad = [f for f in figures if not good(f[0])]
        shown = "; ".join(f"{value:.4g} {name}" for value, name in bad[:4]) or ", ".join(sorted({f"{value:.4g}" for value, _ in figures}))
        self.asked.append((what, shown, bool(figures) and not bad))

    def print(self):
        for what, shown, good in self.asked:
            print(f"{'as asked' if good else 'NOT SO  '}  {what}: {shown}")
        return all(good for _, _, good in self.asked)


def decode_figures(program, kernel):
    """Of a product of one token (dot_rows of wide_dot.cl): instructions a weight, work-groups and bytes in flight at N = K =
    4096. None where the program is another one, or for another K."""
    abreast, group, loop = program.option("ABREAST"), program.option("GROUP", 64), kernel.hottest(BLOCK * ROWS)
    if program.kernel not in ("linear", "moe_gate_up", "moe_down") or abreast * BLOCK < 4096 or loop is None:
        return None
    # The loop within adds up the blocks of a row group: 16 work-items, which is one warp, while the others wait.
    adders = lambda inner: abreast / max(1, kernel.sum(inner, lambda i: i.fma + i.add)) * 32 / group
    groups = 4096 // 16 // (group // 2 // abreast)
    loads = itertools.takewhile(lambda i: not i.fma, kernel.instructions[loop[0] : loop[1]])
    return kernel.per_turn(loop, lambda i: i.operations, adders) / (BLOCK * ROWS), groups, sum(i.load for i in loads) * group * groups


def prefill_share(program, kernel):
    """Of a product of many tokens: the share of the instructions of the loop over blocks that multiply. None elsewhere."""
    quads = program.option("QUADS")
    if program.file != "linear_wide.cl" or quads == 0:
        return None
    of_chain = quads * 4 * 4 * BLOCK // 2  # multiply-adds of a work-item: four rows by four tokens

    def trips(inner):
        multiplies = kernel.sum(inner, lambda i: i.fma)
        return of_chain // multiplies if multiplies else 1

    able = [loop for loop in kernel.loops if kernel.per_turn(loop, lambda i: i.fma, trips) >= 2 * of_chain]
    loop = min(able, key=lambda loop: loop[1] - loop[0], default=None)
    return loop and 2 * of_chain / kernel.per_turn(loop, lambda i: i.operations, trips)


def check(results):
    report = Report()
    name = lambda p, t: f"{p} ({t})"
    report.ask("spills", [(k.spills, name(p, t)) for p, t, k in results], lambda n: n == 0)
    report.ask("bytes of private memory", [(k.private, name(p, t)) for p, t, k in results], lambda n: n == 0)
    for weight, most in (("fp8", 4.5), ("fp4", 4.5), ("bf16", 3)):
        of_type = [(decode_figures(p, k), name(p, t)) for p, t, k in results if t == "sm_90" and p.option("W") == weight]
        figures = [(f, n) for f, n in of_type if f is not None]
        if figures:
            report.ask(f"sm_90: instructions per {weight} weight in decode, at most {most}", [(f[0], n) for f, n in figures], lambda x: x <= most)
            report.ask(f"sm_90: bytes in flight in decode of {weight}, N = K = 4096, at least 1e6", [(f[2], n) for f, n in figures], lambda x: x >= 1e6)
            report.ask(f"work-groups in decode of {weight}, N = K = 4096, at least 256", [(f[1], n) for f, n in figures], lambda x: x >= 256)
    for target, least in (("sm_90", 0.7), ("gfx1100", 0.6)):
        shares = [(prefill_share(p, k), name(p, t)) for p, t, k in results if t == target]
        shares = [(s, n) for s, n in shares if s is not None]
        if shares:
            report.ask(f"{target}: share of multiply-adds in the loop of prefill, at least {least}", shares, lambda x: x >= least)
    return report.print()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--v4rt", required=True)
    arguments.add_argument("--targets", default=",".join(TARGETS))
    arguments.add_argument("--only", default="", help="programs whose names hold this text")
    arguments.add_argument("--out", help="a folder for what the compilers write")
    a = arguments.parse_args()
    targets = []
    for target in a.targets.split(","):
        gone = TARGETS[target].missing()
        if gone:
            print(f"{target} is left out: {gone} is not here")
        else:
            targets.append(target)
    if not targets:
        return 77
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(a.out or temporary)
        os.makedirs(folder, exist_ok=True)
        chosen = [p for p in programs(os.path.abspath(a.v4rt), folder) if a.only in str(p)]

        def compile(job):
            number, (program, target) = job
            base = os.path.join(folder, f"{number:03}-{program.kernel}.{target}")
            return program, target, TARGETS[target].compile(program, target, base)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = []
            for program, target, k in pool.map(compile, enumerate(itertools.product(chosen, targets))):
                print(f"{target:8} {k.registers:>7} spills {k.spills:4} private {k.private:5} local {k.local:6} instructions {len(k.instructions):6}  {program}", flush=True)
                results.append((program, target, k))
        return 0 if check(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (tools.Failed, subprocess.SubprocessError) as error:
        sys.exit(str(error))

"""Listings of machine code: loops, and what their instructions do."""
import re
from dataclasses import dataclass, field


@dataclass
class Instruction:
    fma: int = 0  # multiply-adds of floats
    add: int = 0  # additions
    load: int = 0  # bytes that a lane loads from global memory
    operations: int = 1  # two where a pair of them is issued as one


@dataclass
class Kernel:
    """What a compiler made of one kernel."""

    registers: str
    spills: int  # bytes, or registers where the compiler counts those
    private: int  # bytes of memory of a work-item's own
    local: int  # bytes
    instructions: list = field(default_factory=list)
    loops: list = field(default_factory=list)  # [begin, end) of each

    def sum(self, loop, what):
        return sum(what(i) for i in self.instructions[loop[0] : loop[1]])

    def inner(self, loop):
        """The loops within that hold no other."""
        within = lambda a, b: a != b and b[0] <= a[0] and a[1] <= b[1]
        return [a for a in self.loops if within(a, loop) and not any(within(b, a) for b in self.loops)]

    def per_turn(self, loop, what, trips):
        """Sum of `what` over one turn of the loop; a loop within it is taken trips(it) times."""
        return self.sum(loop, what) + sum((trips(inner) - 1) * self.sum(inner, what) for inner in self.inner(loop))

    def hottest(self, multiplies):
        """The smallest loop with `multiplies` multiply-adds or more."""
        able = [loop for loop in self.loops if self.sum(loop, lambda i: i.fma) >= multiplies]
        return min(able, key=lambda loop: loop[1] - loop[0], default=None)


def read(lines, label, instruction, target_of):
    """Instructions and loops of a listing: label(line) and instruction(line) say what a line is, target_of(line) which
    label it jumps to."""
    instructions, labels, jumps = [], {}, []
    for line in lines:
        name = label(line)
        if name:
            labels[name] = len(instructions)
            continue
        made = instruction(line)
        if made is None:
            continue
        instructions.append(made)
        to = target_of(line)
        if to in labels:
            jumps.append((labels[to], len(instructions)))
    return instructions, sorted(set(jumps))


def first(pattern, text, default="0"):
    found = re.search(pattern, text)
    return found.group(1) if found else default

"""AMD: clang compiles to the end, as the driver's own compiler, also an LLVM, does."""
import re

import tools
from listing import Instruction, Kernel, first, read

LINE = re.compile(r"\t([a-z]\w+)\s*(.*)")
WIDTHS = {"b128": 16, "b96": 12, "b64": 8, "b32": 4, "dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4}


def missing():
    return tools.missing(["clang-19"], ["/usr/lib/clc/amdgcn--amdhsa.bc"])


def instruction(line):
    found = LINE.match(line)
    if not found or found.group(1) in ("s_delay_alu", "s_nop", "s_clause"):
        return None
    name = found.group(1)
    halves = line.count("::") + 1
    # A packed one multiplies and adds two numbers; of a pair that is issued as one, each half may be one.
    fma = 2 if name.startswith("v_pk_fma") else len(re.findall(r"\bv_(?:dual_)?fma[ck]?", line))
    made = Instruction(fma=fma, operations=max(halves, fma))
    if re.match(r"(global|flat|buffer)_load", name):
        made.load = WIDTHS.get(name.split("_")[-1], 2)
    return made


def compile(program, target, base):
    tools.clang(program, "amdgcn-amd-amdhsa", "/usr/lib/clc/amdgcn--amdhsa.bc", [f"-mcpu={target}", "-nogpulib"], base + ".s")
    with open(base + ".s") as file:
        text = file.read()
    spills = sum(int(first(rf"\.{kind}_spill_count:\s*(\d+)", text)) for kind in ("vgpr", "sgpr"))
    kernel = Kernel(first(r"NumVgprs: (\d+)", text) + "v", spills, int(first(r"ScratchSize: (\d+)", text)), int(first(r"LDSByteSize: (\d+)", text)))
    kernel.instructions, kernel.loops = read(
        text.split(f"\n{program.kernel}:")[1].split(".section", 1)[0].splitlines(),
        label=lambda line: first(r"^(\.LBB\d+_\d+):", line, None),
        instruction=instruction,
        target_of=lambda line: first(r"^\ts_c?branch\w*\s+(\.LBB\d+_\d+)", line, None),
    )
    return kernel

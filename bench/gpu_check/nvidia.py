"""NVIDIA: clang makes PTX, ptxas machine code, nvdisasm a listing of it. ptxas has the compiler of the driver; the
driver's front end is another than clang."""
import re

import tools
from listing import Instruction, Kernel, first, read

WIDTHS = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
LINE = re.compile(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)\s*(.*)")


def missing():
    return tools.missing(["clang-19", "ptxas", "nvdisasm"], ["/usr/lib/clc/nvptx64--nvidiacl.bc"])


def instruction(line):
    found = LINE.match(line)
    if not found or found.group(1).split(".")[0] == "NOP":
        return None
    name = found.group(1).split(".")
    made = Instruction(fma=int(name[0] == "FFMA"), add=int(name[0] == "FADD"))
    if name[0] == "LDG":
        made.load = next((WIDTHS[part] for part in name if part in WIDTHS), 4)
    return made


def compile(program, target, base):
    tools.clang(program, "nvptx64-nvidia-nvcl", "/usr/lib/clc/nvptx64--nvidiacl.bc",
                ["-Xclang", "-target-cpu", "-Xclang", target, "-Xclang", "-target-feature", "-Xclang", "+ptx78"], base + ".ptx")
    with open(base + ".ptx") as file:
        ptx = file.read()
    entry = ptx.index("{", ptx.index(")", ptx.index(f".entry {program.kernel}(")))
    if ".reqntid" not in ptx[:entry]:  # clang leaves out how large a work-group is, by which ptxas assigns registers
        ptx = ptx[:entry] + ".reqntid {}, {}, {}\n".format(*program.group) + ptx[entry:]
    with open(base + ".ptx", "w") as file:
        file.write(ptx)
    said = tools.run(["ptxas", "-v", "-O3", f"-arch={target}", base + ".ptx", "-o", base + ".cubin"])
    stack, stores, loads = (int(n) for n in re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said).groups())
    kernel = Kernel(first(r"Used (\d+) registers", said), stores + loads, stack, int(first(r"(\d+) bytes smem", said)))
    kernel.instructions, kernel.loops = read(
        tools.run(["nvdisasm", "-c", base + ".cubin"]).splitlines(),
        label=lambda line: first(r"^\s*(\.L_x_\d+|\.L_\d+):", line, None),
        instruction=instruction,
        target_of=lambda line: first(r"\bBRA.*`\((\.L_x?_?\d+)\)", line, None),
    )
    return kernel

"""Intel: ocloc, the driver's own compiler. It says what it did in files that it writes when asked to."""
import glob
import os
import re
import shutil

import tools
from listing import Instruction, Kernel, first


def missing():
    return tools.missing(["ocloc"])


def compile(program, target, base):
    folder = base + ".ocloc"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    dump = {"IGC_ShaderDumpEnable": "1", "IGC_DumpToCurrentDir": "1", "IGC_ShaderDumpPidDisable": "1"}
    tools.run(["ocloc", "compile", "-file", program.source, "-device", target, "-output_no_suffix", "-out_dir", folder, "-output", "p", "-options", program.options],
              env=dict(os.environ, **dump), cwd=folder)
    # One listing for each number of lanes that was tried; the widest is kept.
    widest, text = 0, ""
    for path in glob.glob(folder + "/*.asm"):
        lanes = int(first(r"_simd(\d+)_", path))
        with open(path) as file:
            read = file.read()
        if lanes > widest and read.startswith(f"//.kernel {program.kernel}\n"):
            widest, text = lanes, read
    if not text:
        raise tools.Failed(f"ocloc left no listing of {program}")
    operations = re.findall(r"^\s*(?:\([^)]*\)\s*)?([a-z]\w*)(?:\.[\w.]+)? ?\(", text, re.M)
    kernel = Kernel(f"simd{widest}", int(first(r"//\.spill size (\d+)", text)), int(first(r"//\.private memory size (\d+)", text)), 0)
    kernel.instructions = [Instruction(fma=int(name == "mad")) for name in operations]
    return kernel

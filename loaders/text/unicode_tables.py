#!/usr/bin/env python3
"""Writes unicode_table.inc: every code point's general category.

    pip install unicodedata2==16.0.0
    python3 unicode_tables.py > unicode_table.inc

The version is that of Oniguruma 6.9.10, with which Hugging Face tokenizers 0.23 matches regexes: whoever changes it
changes ids. Surrogates are no characters and stand as unassigned.
"""

import unicodedata2

VERSION = "16.0.0"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn".split()
PER_LINE = 10


def runs():
    """The code points at which the category changes, each with the category that begins there."""
    before = None
    for code in range(0x110000):
        category = unicodedata2.category(chr(code)).replace("Cs", "Cn")
        if category != before:
            yield code, category
        before = category


def main():
    if unicodedata2.unidata_version != VERSION:
        raise SystemExit(f"unicodedata2 has Unicode {unicodedata2.unidata_version}; {VERSION} is needed: "
                         f"pip install unicodedata2=={VERSION}")
    names = ", ".join(f'"{name}"' for name in CATEGORIES)
    entries = [f"0x{code << 5 | CATEGORIES.index(category):x}" for code, category in runs()]
    lines = [", ".join(entries[i:i + PER_LINE]) for i in range(0, len(entries), PER_LINE)]
    print(f"// Unicode {VERSION}, written by unicode_tables.py.\n"
          f"constexpr std::string_view kCategories[] = {{{names}}};\n\n"
          "// Where a run of one category begins: code point << 5 | index into kCategories.\n"
          "constexpr uint32_t kRuns[] = {")
    print(",\n".join(lines) + "};")


main()

#!/usr/bin/env bash
# Makes the receipts of this folder anew, after an op got another order of sums: make.sh BUILD. The ids go past the
# window, fill several chunks and leave one token.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) v4rt=$(realpath "$1")/bin/v4rt
cd "$here/../../.."
for numbers in faithful plain; do
  for model in examples/models/v4-mini tests/data/tiny-flash; do
    "$v4rt" receipt $model --ids "$here/prompt.ids" -n 3 --mtp --numbers $numbers --device reference \
      -o "$here/$(basename $model)-$numbers.jsonl"
  done
done
"$v4rt" receipt mini -p 'The capital of France is' -n 6 --device reference -o "$here/v4-mini-text.jsonl"  # short

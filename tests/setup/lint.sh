#!/usr/bin/env bash
# lint.sh - every check that needs no test run. Runs all of them, then fails if one did.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0
check() { printf '%s\n' "-- $*"; ".venv/bin/$1" "${@:2}" || failed=1; }
check ruff check .
check ruff format --check .
check mypy
check lint-imports
exit $failed

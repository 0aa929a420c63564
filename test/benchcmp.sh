#!/bin/sh
# Runs the micro-benchmarks of a commit and of the working tree in turns and has
# benchstat compare them. COUNT: times each (10); BENCH: which of them (all).
set -eu
base=$1
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/tree" || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
git worktree add -q --detach "$dir/tree" "$base"
for p in frame fdb switch; do
	go test -c -o "$dir/new.$p" "./$p"
	(cd "$dir/tree" && go test -c -o "$dir/old.$p" "./$p")
done
for n in $(seq "${COUNT:-10}"); do
	for which in old new; do
		echo "run $n of $which" >&2
		for p in frame fdb switch; do
			tree=.
			[ $which = new ] || tree=$dir/tree
			(cd "$tree/$p" && "$dir/$which.$p" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchmem) >>"$dir/$which"
		done
	done
done
(cd "$dir" && go run "$benchstat" old new)

#!/bin/bash
# How the files here were made, once, by commit aefc737: make_fixtures.sh CONVBENCH WORK. For the record; make_golden.py
# is what is run again. WORK is an empty folder outside any checkout.
set -eu
CB=$1; WORK=$2; HERE=$(cd "$(dirname "$0")" && pwd)
export CONVBENCH_MACHINE=bench-1 HOME=$WORK/home GIT_CONFIG_GLOBAL=/dev/null
mkdir -p "$WORK/home" "$WORK/s"; cp -r "$HERE"/*.toml "$HERE/plugins" "$WORK/s/"; cd "$WORK/s"
# five libraries, so that four others tell of the machine (`drift`)
five=(--backend numpy-gemm --backend scipy-direct --backend torch --backend jax --backend numba-direct)
run() { "$CB" run --quick --results results --no-asv "$@" > /dev/null 2>> ../log || echo "run $*: exit $?"; sleep 1; }
last() { ls -t results/bench-1/*.jsonl | head -1; }
# A and B: the same suite, five libraries; B with five that misbehave besides
run --suite tiny.toml --case 'n1*' "${five[@]}"; mv "$(last)" results/bench-1/A.jsonl.keep
run --suite tiny.toml --case 'n1c4*' "${five[@]}" --backend torch-native --plugin plugins/stored_fakes.py --backend fixture-wrong \
    --backend fixture-crash --backend fixture-raises --backend fixture-only64 --backend fixture-missing
mv "$(last)" results/bench-1/B.jsonl.keep
# C: threads 1,2 in two processes each, interrupted when 6 of the 8 records are there
for try in 1 2 3 4 5 6; do
(set -m
 "$CB" run --quick --results results --no-asv --suite tiny.toml --case 'n1*' --backend numpy-gemm --backend numpy-loop --threads 1,2 --processes 2 --json \
     > ../c.out 2>> ../log & pid=$!
 until [ "$(wc -l < ../c.out)" -ge 5 ]; do sleep 0.01; done; kill -INT $pid; code=0; wait $pid || code=$?; echo "interrupted run: exit $code"; [ $code = 130 ]) && break
rm "$(last)"; sleep 1; done
mv "$(last)" results/bench-1/C.jsonl.keep
# a plan and its journal
"$CB" choose --suite layers.toml --backend numpy-gemm --backend torch --budget 0.05 --results results --plan plan.json --json > ../choose.out 2>> ../log || echo "choose: exit $?"
mv "$(last)" results/bench-1/D.jsonl.keep
# what verify leaves
"$CB" verify --plugin plugins/stored_fakes.py --backend fixture-wrong-stride --strength 2 --time-limit 0.75 --results results --json > ../verify.out 2>> ../log || echo "verify: exit $?"
sleep 1
(set -m
 "$CB" verify --plugin plugins/stored_fakes.py --backend fixture-wrong-stride --strength 2 --time-limit 0 --seed 1 --results results --json > ../verify2.out 2>> ../log & pid=$!
 until [ "$(cat results/bench-1/*-$pid.verification 2> /dev/null | wc -l)" -ge 12 ]; do sleep 0.01; done; kill -INT $pid; wait $pid || echo "interrupted verify: exit $?")
# ceilings
"$CB" machine --measure --threads 1 --results results --json > ../machine.out 2>> ../log || echo "machine: exit $?"
# twelve nights, with a step after the seventh
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
  if [ $n -le 7 ]; then ms=1; else ms=1.6; fi
  CONVBENCH_MACHINE=bench-2 STORED_FAKES_SLEEP_MS=$ms run --suite tiny.toml --case n1c4h10w10_o6k3_p1 --backend fixture-sleeper --plugin plugins/stored_fakes.py
done
# asv's files, of two commits, in a clone of CONVBENCH's repository
git clone -q "$(dirname "$CB")/../.." "$WORK/clone"; cd "$WORK/clone"
for commit in aefc737~1 aefc737; do
  git checkout -q -B main $commit
  "$CB" run --suite smoke --quick --backend numpy-gemm --backend numpy-loop --case '*k5*' --results ../s/asv >> ../log 2>&1 || echo "asv $commit: exit $?"
  sleep 1
done
cd ../s
for f in results/bench-1/*.keep; do mv "$f" results/bench-1/"$(sed -n 's/^{"format":1,"run":"\([^"]*\)".*/\1/p' "$f" | head -1)".jsonl; done
nights=(results/bench-2/*.jsonl); mkdir -p exports
for e in csv pyperf.json; do "$CB" export "${nights[0]}" "${nights[-1]}" --to exports/two.$e --results results >> ../log 2>&1 || echo "export $e: exit $?"; done
# asv's list of benchmarks: only Smoke's of 61 are kept, for their size; golden.json has digests of all
python3 - << 'END'
import json
path = "asv/benchmarks.json"
kept = {k: v for k, v in json.load(open(path)).items() if k == "version" or k.startswith(("track.Smoke.", "track.time_"))}
open(path, "w").write(json.dumps(kept, indent=1))
END
cp -r asv results exports plan.json "$HERE"/
rm -f "$HERE"/asv/.asv.lock
grep -rlE "$WORK|$(realpath "$(dirname "$CB")/../..")" "$HERE"/{asv,results,exports,plan.json} | xargs -r sed -i "s#$WORK/s#/stored#g; s#$(realpath "$(dirname "$CB")/../..")#/checkout#g"

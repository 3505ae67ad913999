#!/bin/sh
# All that waits for a GPU, in one command:
#
#   sh benchmarks/gpu.sh [--official PATH] [--minutes M] [FOLDER]
#
# Each part runs whatever became of the others, and leaves what it printed in FOLDER/<part>.txt; a
# table of seconds and exit codes comes last. FOLDER is benchmarks/gpu-results/<date and time> by
# default. The exit code is 1 where a part failed.
#
#   --official PATH   a checkout of the paper's code, to train beside it
#   --minutes M       for the runs at full scale (10)
#   --tiny            tiny sizes, to try the script itself
#   --device cpu      the same, without a GPU
#
# PYTHON is the interpreter (python).

set -u

device=cuda minutes=10 official= tiny= folder=
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift ;;
        --minutes) minutes=$2; shift ;;
        --official) official=$(cd "$2" && pwd) || exit 2; shift ;;
        --tiny) tiny=yes ;;
        -*) echo "gpu.sh: unknown option $1" >&2; exit 2 ;;
        *) folder=$1 ;;
    esac
    shift
done
case $minutes in
    "" | *[!0-9]*) echo "gpu.sh: --minutes is '$minutes'; a whole number is accepted" >&2; exit 2 ;;
esac
folder=${folder:-$(dirname "$0")/gpu-results/$(date +%Y-%m-%dT%H%M%S)}
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python}
summary=$folder/summary.txt
failed=0

# part NAME MOST_SECONDS COMMAND...: 124 is the exit code of one that took longer
part() {
    name=$1 most=$2
    shift 2
    echo "--- $name: $*"
    began=$(date +%s)
    timeout "$most" "$@" >"$folder/$name.txt" 2>&1
    code=$?
    [ $code -eq 0 ] || { failed=1; tail -n 3 "$folder/$name.txt"; }
    printf '%-18s %7d s   exit code %d\n' "$name" $(($(date +%s) - began)) $code >>"$summary"
}

ours() { # NAME MOST_SECONDS ARGUMENTS...: of the command line
    name=$1 most=$2
    shift 2
    part "$name" "$most" "$python" -m embedding_collapse "$@"
}

: >"$summary"
if [ "$tiny" ]; then
    tests="tests/lab/test_engine_checked.py -k agree_at_the_start_and_later[None-dnn]"
    speed="--quick --models dnn" kernels="--columns 2 --block 2 --rounds 1" cost=--quick
    run="--dataset synthetic-mini --rows 1500 --hidden 8 --embedding-size 2 --batch-size 400 --epochs 1"
    compiled=$run record="$run --minutes 0.01" precisions=bf16
else
    tests="tests/lab/test_engine.py tests/lab/test_engine_checked.py tests/blocked_adam/test_blocked_adam_kernels.py"
    speed= kernels="--rounds 15" cost=
    run="--dataset synthetic --rows 2000000 --design me --scale 4 --epochs 2"
    compiled="--dataset synthetic --rows 6000000 --design me --scale 4 --epochs 2"
    record="--minutes $minutes --dataset synthetic --epochs 10 --precision tf32" precisions="float32 tf32 bf16"
fi
expect=captured
[ "$device" = cuda ] || expect=loop

part machine 600 "$python" -c 'import sys, torch; from embedding_collapse.lab.environment import environment
print(environment(torch.device(sys.argv[1])), torch.version.cuda)' "$device"
# shellcheck disable=SC2086 # options are words
{
    part tests 3600 "$python" -m pytest -rs $tests
    for precision in $precisions; do
        option=
        [ $precision = float32 ] || option="--precision $precision"
        ours "run-$precision" 1800 run $run $option \
            --device "$device" --output "$folder/runs" --no-weights --quiet
    done
    ours run-compiled 1800 run $compiled --precision tf32 --seed 1 \
        --device "$device" --output "$folder/runs" --no-weights --quiet
    part training 10800 "$python" benchmarks/training.py $speed --device "$device" \
        --precision tf32 ${official:+--official "$official"}
    part kernels 1800 "$python" benchmarks/optimizer.py $kernels --device "$device" \
        --output "$folder/optimizer.json"
    part cost 7200 "$python" benchmarks/cost.py $cost --device "$device" --output "$folder"
    ours record $((60 * minutes + 3600)) sweep $record --models dcnv2,dnn,finalmlp,xdeepfm,ipnn,nfwfm \
        --scales 1,4,10,2,3 --no-weights --device "$device" --output "$folder/record"
    part engines 600 "$python" benchmarks/engines.py --expect $expect "$folder/runs" "$folder/record"
}
[ "$official" ] || echo "no --official PATH: training was not timed beside the paper's code" >>"$summary"
echo
cat "$summary"
echo "results in $folder"
exit $failed

#!/bin/sh
# The libraries that benchmarks/peers.py times, each in an environment of its own, with the torch
# that .venv has:  sh benchmarks/peers.sh FOLDER
set -eu
[ $# -eq 1 ] || { echo "usage: sh benchmarks/peers.sh FOLDER" >&2; exit 2; }
torch=$(.venv/bin/python -c 'import torch; print(torch.__version__.split("+")[0])')
install() {
    home=$1/${2%%==*}
    [ -x "$home/bin/python" ] || .venv/bin/python -m venv "$home"
    shift
    .venv/bin/uv pip install --quiet --python "$home/bin/python" "torch==$torch" "$@"
}
install "$1" fuxictr==2.3.10 'polars<1.30'       # it passes an argument that is gone
install "$1" deepctr-torch==0.3.0 pandas requests  # imported and not declared
install "$1" recbole==1.2.1 'numpy<2' 'pandas<3'     # it was written for these

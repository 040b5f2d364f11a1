#!/bin/sh
# Makes the demo model with Quern alone; Python does no more than write the conversations.
#   train.sh DIR [options of quern train]      again with --resume after a stop
# DIR gets the data in work/, and the model in work/out. $QUERN names the program.
set -e
[ $# -ge 1 ] || { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
quern=${QUERN:-$here/../../build/release/quern}
demo=$here/../quern-demo
mkdir -p "$1/work"
cd "$1"
shift
if [ ! -e work/start/model.safetensors ]; then
    python3 "$here/generate.py" --split tokenizer -o work/tokenizer.jsonl
    stage=0
    for count in 150000 100000 200000 96000; do
        stage=$((stage + 1))
        python3 "$here/generate.py" --split stage --stage $stage --count $count -o work/stage-$stage.jsonl
    done
    "$quern" tokenizer train -o work/start --vocab-size 4096 --max-token-length 24 work/tokenizer.jsonl
    cp "$demo/generation_config.json" "$demo/tokenizer_config.json" "$demo/chat_template.jinja" work/start
    "$quern" init --config "$demo/config.json" --dtype f32 --seed 3 -o work/start --force
fi
exec "$quern" train --config "$here/quern-train.json" "$@"

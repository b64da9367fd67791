#!/bin/bash
# Training on the TPU of one Cloud TPU VM (one host), started from your machine.
#
#   gcloud compute tpus tpu-vm create my-tpu --zone us-central1-a --accelerator-type v3-8 --version RUNTIME
#   TPU=my-tpu ZONE=us-central1-a BUCKET=gs://my-bucket/runs/maf_rows \
#     tools/launch/tpu_vm.sh --model MAF --data rows.npy --batch_size 4096
#
# RUNTIME is one that holds TensorFlow for TPUs, in a version that tfdgm takes. On the machine: tfdgm, and the data (`gcloud compute
# tpus tpu-vm scp`). The run's folder is copied to BUCKET every five minutes and at the end, and from BUCKET at the start: after
# a preemption, create the machine again and repeat the command.

set -euo pipefail
: "${TPU:?expected the name of the TPU VM}" "${ZONE:?expected its zone}" "${BUCKET:?expected a folder gs://...}"

command="
set -u
mkdir -p run
gcloud storage rsync --recursive $(printf %q "$BUCKET") run || echo 'No earlier run.'
(while sleep 300; do gcloud storage rsync --recursive run $(printf %q "$BUCKET"); done) > /dev/null 2>&1 &
copying=\$!
tfdgm train --strategy tpu --output run$(printf ' %q' "$@")
code=\$?
kill \$copying
gcloud storage rsync --recursive --delete-unmatched-destination-objects run $(printf %q "$BUCKET")
exit \$code
"
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --command "$command"

#!/bin/bash
# Training on several machines under Slurm: one task a node, each with all GPUs of its node.
#
#   sbatch --nodes=4 tools/launch/slurm.sh runs/maf_rows --model MAF --data "rows/*.npy" --batch_size 4096
#
# The first argument is the run's folder, seen by all nodes under the same name; the others are those of `tfdgm train`. `python`
# and `tfdgm` must be on PATH (activate the environment before sbatch, which passes it on). Five minutes before its time is over
# the job gets SIGTERM, saves a checkpoint and queues itself again, until the run is finished.

#SBATCH --job-name=tfdgm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -u
if [ $# -eq 0 ]; then
  echo "Usage: sbatch slurm.sh OUTPUT [arguments of tfdgm train]" >&2
  exit 2
fi
output=$1
mkdir -p "$output" && touch "$output/.started" || exit

# One worker that fails ends the others, which could only wait for it.
# shellcheck disable=SC2016  # The tasks expand these.
srun --kill-on-bad-exit=1 --distribution=block --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" bash -c '
  TF_CONFIG=$(python -c "import json; from tfdgm.training import cluster_from_environment as c; print(json.dumps(c() or {}))") || exit
  export TF_CONFIG
  exec tfdgm train --strategy auto --output "$@"' worker "$@"
code=$?

if [ -f "$output/card.json" ] && [ ! -d "$output/checkpoints" ]; then
  exit 0
fi
# Not finished: again, as long as every attempt gets further.
if [ -n "$(find "$output/checkpoints" -newer "$output/.started" 2> /dev/null)" ]; then
  echo "The run is not finished: queued again."
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
echo "The run is not finished, and this attempt saved no checkpoint: not queued again." >&2
exit $((code > 0 ? code : 1))

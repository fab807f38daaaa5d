#!/bin/bash
# Processes on two machines: sbatch slurm.sh
#SBATCH --job-name=nnbackend
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

# The library of MPI for which mpi4py was built: pip install --no-binary mpi4py mpi4py
module load openmpi
source "$HOME/nnbackend/bin/activate"

# One thread for each process, or as many as --cpus-per-task gives it.
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK OPENBLAS_NUM_THREADS=$SLURM_CPUS_PER_TASK

# "srun --mpi=list" says what there is: pmix for Open MPI, pmi2 or pmix for MPICH.
srun --mpi=pmix python train.py "$HOME/data/digits.npz" --epochs 50 --batch-size 4096 \
    --checkpoints "$HOME/runs/digits" --output "$HOME/runs/digits.safetensors"

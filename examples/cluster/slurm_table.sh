#!/bin/bash
# A table with the command line, without any program: sbatch slurm_table.sh
#SBATCH --job-name=nnbackend-table
#SBATCH --nodes=1
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
set -euo pipefail

module load openmpi
source "$HOME/nnbackend/bin/activate"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

srun --mpi=pmix nnbackend train "$HOME/data/penguins.csv" --target species --backend numpy \
    --output "$HOME/runs/penguins.safetensors"

#!/bin/bash
# One machine with eight cards: bash eight_cards.sh digits.npz
set -euo pipefail

# Each process takes the card of its number on the machine, and adds up gradients by NCCL.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
mpiexec -n 8 python train.py "$1" --backend cupy --batch-size 8192 --epochs 50 --checkpoints run

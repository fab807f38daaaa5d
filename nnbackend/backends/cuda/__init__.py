"""What only a CUDA device has: graphs, cuBLAS, its libraries."""

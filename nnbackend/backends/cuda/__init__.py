"""What only a CUDA device has: graphs, cuBLASLt, its libraries."""

"""PyTorch: training, scoring and judging one multi-task model, in processes of their own."""

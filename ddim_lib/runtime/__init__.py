"""The machine: accelerator, number types, processes, signals; what a record says of all that."""

"""The machine: number types, processes, signals, and what a record says of all that."""

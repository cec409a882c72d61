"""Arguments, networks of anyone's, and the machine: accelerator, number types, processes, signals."""

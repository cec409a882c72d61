"""Arguments, networks of anyone's, the machine: accelerator, types, processes, signals, records."""

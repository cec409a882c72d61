"""Arguments, networks of anyone's, and the machine: number types, processes, signals, records."""

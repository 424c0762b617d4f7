"""What every command line shares: parser, log, errors, signals, atomic files, pools, GPU leases."""

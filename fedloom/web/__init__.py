"""Pages for stewards and coordinators, served on the loopback alone."""

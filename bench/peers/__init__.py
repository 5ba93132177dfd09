"""What Rookery is measured against, from Debian's packages, on loopback ports, in a folder of their own."""

"""Over all: operations (one function per administrative act), command line, health, snapshots."""

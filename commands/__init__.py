"""What the `wmark` command does, a file a command: parse, call the library, print."""

"""The engine: one thread that knows which task waits for what. It knows nothing of where tasks run."""

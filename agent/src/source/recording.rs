//! Recordings: the engine's inputs in a file.

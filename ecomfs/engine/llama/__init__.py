"""GGUF models through llama.cpp (xllamacpp)."""

"""Tokenises a Dataset once for each distinct tokenizer, template and length."""

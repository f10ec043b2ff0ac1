"""What is asked for: the recipe model, its loader and its JSON Schema."""

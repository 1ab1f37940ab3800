"""What the pages show, as plain structs; the JSON twin of a page is its struct."""
